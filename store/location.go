package store

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// location is what the text of a URL means: a folder's path, or else a bucket.
type location struct {
	folder string
	bucket bucketLocation
}

// bucketLocation is what a URL says about a bucket.
type bucketLocation struct {
	bucket string
	// prefix comes before names, without slashes at its ends; empty for none.
	prefix string
	// endpoint is host[:port]; empty for the environment's or Amazon's.
	endpoint string
	// plain is http in place of https.
	plain bool
	// region is empty for the environment's or the server's.
	region string
	// pathStyle is nil where the endpoint decides.
	pathStyle *bool
}

const bucketScheme = "s3"

// validURLs is the end of every error about a URL.
const validURLs = "valid are a folder's path, file:///absolute/path and " +
	"s3://BUCKET[/PREFIX][?endpoint=HOST:PORT&region=REGION&path_style=true]"

// scheme is what a URL begins with. A shorter one would be a drive letter.
var scheme = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]+)://`)

// bucketName is wider than Amazon's rules: other servers allow more.
var bucketName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]$`)

var hostName = regexp.MustCompile(`^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$`)

var regionName = regexp.MustCompile(`^[A-Za-z0-9-]+$`)

// parameters are the query parameters that a bucket's URL can have.
var parameters = []string{"endpoint", "path_style", "region"}

// IsURL says whether text names a bucket (s3://...) rather than a folder.
func IsURL(text string) bool {
	m := scheme.FindStringSubmatch(text)
	return m != nil && strings.EqualFold(m[1], bucketScheme)
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("store: %w: "+format+"; "+validURLs, append([]any{ErrURL}, args...)...)
}

// parse makes a location of a text. Its errors never repeat the whole text, which
// can hold a password by mistake.
func parse(text string) (location, error) {
	m := scheme.FindStringSubmatch(text)
	if m == nil {
		if text == "" || strings.ContainsRune(text, 0) {
			return location{}, invalid("it is empty or has a zero byte")
		}
		return location{folder: text}, nil
	}
	if err := refuseSecrets(text[len(m[0]):]); err != nil {
		return location{}, err
	}
	switch name := strings.ToLower(m[1]); name {
	case "file":
		return parseFile(text)
	case bucketScheme:
		b, err := parseBucket(text)
		return location{bucket: b}, err
	default:
		return location{}, invalid("the scheme is %s://", name)
	}
}

// refuseSecrets looks for a user or password before the host, rest being what
// follows the scheme.
func refuseSecrets(rest string) error {
	host, _, _ := strings.Cut(rest, "?")
	host, _, _ = strings.Cut(host, "/")
	if strings.Contains(host, "@") {
		return invalid("it has a user name or password before an @, which would end up in logs and checkpoints; "+
			"give credentials by the variables %s and %s, or by a profile (AWS_PROFILE)", envKeyID, envSecret)
	}
	return nil
}

// readURL is url.Parse whose errors do not repeat the text.
func readURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		var e *url.Error
		if errors.As(err, &e) {
			err = e.Err
		}
		return nil, invalid("it cannot be read: %v", err)
	}
	if u.Fragment != "" || strings.Contains(text, "#") {
		return nil, invalid("it has a part after a #")
	}
	return u, nil
}

func parseFile(text string) (location, error) {
	u, err := readURL(text)
	if err != nil {
		return location{}, err
	}
	if u.Host != "" && u.Host != "localhost" {
		return location{}, invalid("a folder's URL has no host, but this one has %q: an absolute path follows file://, so that there are three slashes", u.Host)
	}
	if !strings.HasPrefix(u.Path, "/") || u.RawQuery != "" || strings.ContainsRune(u.Path, 0) {
		return location{}, invalid("file:// wants an absolute path and nothing else")
	}
	return location{folder: filepath.FromSlash(u.Path)}, nil
}

func parseBucket(text string) (bucketLocation, error) {
	var b bucketLocation
	u, err := readURL(text)
	if err != nil {
		return b, err
	}
	if b.bucket = u.Host; !bucketName.MatchString(b.bucket) {
		return b, invalid("%q is no bucket's name, which has 3 to 63 letters, digits, dots, hyphens and underscores; a server's address goes into endpoint", u.Host)
	}
	if b.prefix = strings.TrimSuffix(strings.TrimPrefix(u.Path, "/"), "/"); b.prefix != "" {
		if err := checkName(b.prefix); err != nil {
			return b, invalid("the prefix after the bucket: %v", err)
		}
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return b, invalid("the parameters cannot be read")
	}
	for key, values := range query {
		if !slices.Contains(parameters, key) {
			return b, invalid("it has the parameter %q; the parameters are %s", key, strings.Join(parameters, ", "))
		}
		if len(values) != 1 || values[0] == "" {
			return b, invalid("the parameter %s must have one value", key)
		}
	}
	return b, b.set(query)
}

// set takes the values of the parameters over.
func (b *bucketLocation) set(query url.Values) error {
	var err error
	if text := query.Get("endpoint"); text != "" {
		if b.endpoint, b.plain, err = parseEndpoint(text); err != nil {
			return invalid("endpoint: %v", err)
		}
	}
	if b.region = query.Get("region"); b.region != "" && !regionName.MatchString(b.region) {
		return invalid("region is %q; it has letters, digits and hyphens, such as eu-central-1", b.region)
	}
	if text := query.Get("path_style"); text != "" {
		style, err := strconv.ParseBool(text)
		if err != nil {
			return invalid("path_style is %q; it can be true or false", text)
		}
		b.pathStyle = &style
	}
	return nil
}

// parseEndpoint reads HOST[:PORT] or http(s)://HOST[:PORT].
func parseEndpoint(text string) (host string, plain bool, err error) {
	host = text
	if m := scheme.FindStringSubmatch(text); m != nil {
		host = strings.TrimSuffix(text[len(m[0]):], "/")
		switch strings.ToLower(m[1]) {
		case "http":
			plain = true
		case "https":
		default:
			return "", false, fmt.Errorf("the scheme is %s://; it can be http:// or https://", m[1])
		}
	}
	if strings.Contains(host, "@") {
		return "", false, errors.New("it has a user name or password before an @; credentials do not belong there")
	}
	if !hostName.MatchString(host) {
		return "", false, fmt.Errorf("%q is not HOST, HOST:PORT, or either after http:// or https://", host)
	}
	return host, plain, nil
}

// fromEnvironment fills in what the URL left out and AWS's variables say.
func (b *bucketLocation) fromEnvironment() error {
	if b.endpoint == "" {
		for _, variable := range []string{"AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"} {
			text := os.Getenv(variable)
			if text == "" {
				continue
			}
			var err error
			if b.endpoint, b.plain, err = parseEndpoint(text); err != nil {
				return fmt.Errorf("store: %w: the variable %s: %w", ErrURL, variable, err)
			}
			break
		}
	}
	if b.endpoint == "" {
		b.endpoint = amazon
	}
	for _, variable := range []string{"AWS_REGION", "AWS_DEFAULT_REGION"} {
		if b.region == "" {
			b.region = os.Getenv(variable)
		}
	}
	if b.region != "" && !regionName.MatchString(b.region) {
		return fmt.Errorf("store: %w: AWS_REGION or AWS_DEFAULT_REGION is %q; a region has letters, digits and hyphens, such as eu-central-1", ErrURL, b.region)
	}
	return nil
}

const amazon = "s3.amazonaws.com"

// address is the endpoint with its scheme, for messages.
func (b *bucketLocation) address() string {
	if b.plain {
		return "http://" + b.endpoint
	}
	return "https://" + b.endpoint
}

// String is the URL that gives this location whatever the environment says.
func (b *bucketLocation) String() string {
	u := url.URL{Scheme: bucketScheme, Host: b.bucket}
	if b.prefix != "" {
		u.Path = "/" + b.prefix
	}
	query := url.Values{}
	if b.endpoint != "" && b.endpoint != amazon {
		endpoint := b.endpoint
		if b.plain {
			endpoint = b.address()
		}
		query.Set("endpoint", endpoint)
	}
	if b.region != "" {
		query.Set("region", b.region)
	}
	if b.pathStyle != nil {
		query.Set("path_style", strconv.FormatBool(*b.pathStyle))
	}
	// Slashes and colons need no escape in a query and read better without.
	u.RawQuery = strings.NewReplacer("%3A", ":", "%2F", "/").Replace(query.Encode())
	return u.String()
}
