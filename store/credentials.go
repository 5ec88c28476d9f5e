package store

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"
)

const (
	envKeyID  = "AWS_ACCESS_KEY_ID"
	envSecret = "AWS_SECRET_ACCESS_KEY"
	envToken  = "AWS_SESSION_TOKEN"
)

// roleTime bounds a request for the credentials of the machine's role. Where there
// is no such service, nobody answers.
const roleTime = 3 * time.Second

// chain finds credentials where AWS's tools do and in their order: the environment,
// the shared files, the role of the container or machine. Unlike the client's own
// it never signs for nobody: where it finds none it says where it looked.
type chain struct {
	region string

	mu   sync.Mutex
	from string
	curr credentials.Provider // nil for the environment, which does not expire
	have bool
}

// credentials makes the client's credentials, of which the first are found already.
func (c *chain) credentials() (*credentials.Credentials, error) {
	creds := credentials.New(c)
	_, err := creds.GetWithContext(nil)
	return creds, err
}

// source says where the credentials are from.
func (c *chain) source() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.from
}

func (c *chain) Retrieve() (credentials.Value, error) { return c.RetrieveWithCredContext(nil) }

func (c *chain) RetrieveWithCredContext(cc *credentials.CredContext) (credentials.Value, error) {
	value, provider, from, err := c.find(cc)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.from, c.curr, c.have = from, provider, err == nil
	if err != nil {
		return credentials.Value{}, fmt.Errorf("%w: %w", ErrAccess, err)
	}
	return value, nil
}

func (c *chain) IsExpired() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.have || c.curr != nil && c.curr.IsExpired()
}

func (c *chain) find(cc *credentials.CredContext) (credentials.Value, credentials.Provider, string, error) {
	fail := func(err error) (credentials.Value, credentials.Provider, string, error) {
		return credentials.Value{}, nil, "", err
	}
	id, secret := os.Getenv(envKeyID), os.Getenv(envSecret)
	if (id == "") != (secret == "") {
		return fail(fmt.Errorf("of the variables %s and %s one is set; both or none are valid", envKeyID, envSecret))
	}
	if id != "" {
		value := credentials.Value{AccessKeyID: id, SecretAccessKey: secret, SessionToken: os.Getenv(envToken), SignerType: credentials.SignatureV4}
		return value, nil, "the variable " + envKeyID, nil
	}
	file := &credentials.FileAWSCredentials{}
	value, fileErr := file.RetrieveWithCredContext(cc)
	profile := os.Getenv("AWS_PROFILE")
	switch {
	case fileErr == nil && value.AccessKeyID != "" && value.SecretAccessKey != "":
		return value, file, fmt.Sprintf("the profile %q of the shared credentials", orDefault(profile)), nil
	case fileErr == nil:
		fileErr = errors.New("it has no keys")
	}
	// A profile that was asked for is not silently replaced by another identity.
	if profile != "" {
		return fail(fmt.Errorf("the profile %q that AWS_PROFILE names: %w", profile, fileErr))
	}
	value, role, err := c.role(cc)
	if err == nil {
		return value, role, "the role of this container or machine", nil
	}
	if errors.Is(fileErr, fs.ErrNotExist) {
		fileErr = errors.New("there is no such file")
	}
	return fail(fmt.Errorf("no credentials: the variables %s and %s are not set; the shared credentials (~/.aws/credentials, AWS_SHARED_CREDENTIALS_FILE): %w; the role of this container or machine: %w",
		envKeyID, envSecret, fileErr, err))
}

func orDefault(profile string) string {
	if profile == "" {
		return "default"
	}
	return profile
}

// role asks the service that gives a container or machine its credentials.
func (c *chain) role(cc *credentials.CredContext) (credentials.Value, credentials.Provider, error) {
	container := false
	for _, variable := range []string{"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_WEB_IDENTITY_TOKEN_FILE"} {
		container = container || os.Getenv(variable) != ""
	}
	if off, _ := strconv.ParseBool(os.Getenv("AWS_EC2_METADATA_DISABLED")); off && !container {
		return credentials.Value{}, nil, errors.New("AWS_EC2_METADATA_DISABLED says not to ask")
	}
	// A proxy is not asked: these services are on the machine itself or beside it.
	client := &http.Client{Timeout: roleTime, Transport: &http.Transport{DisableKeepAlives: true}}
	if os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE") != "" {
		client.Transport = http.DefaultTransport
	}
	role := &credentials.IAM{Client: client, Region: c.region}
	value, err := role.RetrieveWithCredContext(cc)
	if err == nil && (value.AccessKeyID == "" || value.SecretAccessKey == "") {
		err = errors.New("it has no keys")
	}
	return value, role, err
}
