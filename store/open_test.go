package store

import (
	"context"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// noIdentity hides whatever credentials the machine has.
func noIdentity(t *testing.T) {
	for _, v := range []string{envKeyID, envSecret, envToken, "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"} {
		t.Setenv(v, "")
	}
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
}

func TestOpenRefused(t *testing.T) {
	address := serverAddress(t)
	u := testURL(address)
	_, err := Open(t.Context(), strings.Replace(u, testBucket, "no-such-bucket", 1))
	require.ErrorContains(t, err, `there is no bucket "no-such-bucket"; make it or name one that is there`)
	assert.ErrorContains(t, err, "http://"+address)

	_, err = Open(t.Context(), strings.Replace(u, "http://", "https://", 1))
	require.ErrorContains(t, err, "endpoint=http://"+address)

	t.Setenv(envSecret, "wrong")
	_, err = Open(t.Context(), u)
	require.ErrorIs(t, err, ErrAccess)
	assert.ErrorContains(t, err, "SignatureDoesNotMatch")
	assert.ErrorContains(t, err, "the variable AWS_ACCESS_KEY_ID")
	t.Setenv(envKeyID, "nobody")
	_, err = Open(t.Context(), u)
	require.ErrorIs(t, err, ErrAccess)
	assert.ErrorContains(t, err, "InvalidAccessKeyId")

	_, err = openTestBucket(t.Context(), t, testURL("127.0.0.1:1"), settings{})
	require.ErrorContains(t, err, "given up after 5 attempts")
	assert.ErrorContains(t, err, "connection refused")
	assert.ErrorContains(t, err, "http://127.0.0.1:1")
}

func TestCredentials(t *testing.T) {
	u := testURL(serverAddress(t))
	noIdentity(t)
	_, err := Open(t.Context(), u)
	require.ErrorIs(t, err, ErrAccess)
	assert.ErrorContains(t, err, "no credentials: the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set")
	assert.ErrorContains(t, err, "AWS_EC2_METADATA_DISABLED")

	t.Setenv(envKeyID, testID)
	_, err = Open(t.Context(), u)
	require.ErrorContains(t, err, "both or none")
	t.Setenv(envKeyID, "")

	file := filepath.Join(t.TempDir(), "credentials")
	text := "[default]\naws_access_key_id = nobody\naws_secret_access_key = x\n[brood]\naws_access_key_id = " + testID + "\naws_secret_access_key = " + testSecret + "\n"
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
	_, err = Open(t.Context(), u)
	require.ErrorContains(t, err, `the profile "default" of the shared credentials`)
	t.Setenv("AWS_PROFILE", "brood")
	open(t, u)
	t.Setenv("AWS_PROFILE", "absent")
	_, err = Open(t.Context(), u)
	require.ErrorContains(t, err, `the profile "absent" that AWS_PROFILE names`)
	t.Setenv("AWS_PROFILE", "")
	require.NoError(t, os.Remove(file))

	// A container's service, whose credentials are renewed before they end.
	var asked atomic.Int32
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		ends := time.Now().Add(50 * time.Millisecond).UTC().Format(time.RFC3339Nano)
		_, _ = w.Write([]byte(`{"AccessKeyId":"` + testID + `","SecretAccessKey":"` + testSecret + `","Expiration":"` + ends + `"}`))
	}))
	defer service.Close()
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", service.URL)
	s := open(t, u)
	n := asked.Load()
	time.Sleep(100 * time.Millisecond)
	put(t, s, "a", []byte("x"))
	assert.Greater(t, asked.Load(), n)
}

// TestHTTPS goes through a server with a certificate of its own.
func TestHTTPS(t *testing.T) {
	address := serverAddress(t)
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: address})
		r.Out.Host = r.In.Host // It is signed.
	}}
	secure := httptest.NewTLSServer(forward)
	defer secure.Close()
	host := strings.TrimPrefix(secure.URL, "https://")
	u := strings.Replace(testURL(host), "http://", "", 1)
	_, err := Open(t.Context(), u)
	require.ErrorContains(t, err, "AWS_CA_BUNDLE")

	bundle := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600))
	t.Setenv("AWS_CA_BUNDLE", bundle)
	s := open(t, u)
	put(t, s, "a/b", random(1<<20, 1))
	assert.Equal(t, random(1<<20, 1), get(t, s, "a/b"))

	require.NoError(t, os.WriteFile(bundle, []byte("nothing"), 0o600))
	_, err = Open(t.Context(), u)
	require.ErrorContains(t, err, "no certificate")
}

func TestPolicy(t *testing.T) {
	p := policy{attempts: 9, base: 200 * time.Millisecond, limit: 15 * time.Second}
	for attempt, most := range map[int]time.Duration{1: 200 * time.Millisecond, 4: 1600 * time.Millisecond, 8: 15 * time.Second, 1000: 15 * time.Second} {
		different := false
		first := p.wait(attempt)
		for range 100 {
			d := p.wait(attempt)
			different = different || d != first
			assert.GreaterOrEqual(t, d, most/2)
			assert.LessOrEqual(t, d, most)
		}
		assert.True(t, different, "waits are random")
	}
	// A context that ends while it waits ends the waiting, and says what failed.
	ctx, cancel := context.WithCancel(t.Context())
	slow := policy{attempts: 2, base: time.Hour, limit: time.Hour}
	err := slow.do(ctx, func(error) bool { return true }, func(int) error {
		time.AfterFunc(10*time.Millisecond, cancel)
		return os.ErrPermission
	})
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, os.ErrPermission)
}

func TestSizeOfParts(t *testing.T) {
	assert.EqualValues(t, 16<<20, sizeOfParts(25<<20, 16<<20))
	const terabyte = int64(1) << 40
	length := sizeOfParts(terabyte, 16<<20)
	assert.LessOrEqual(t, (terabyte+length-1)/length, int64(maxParts))
}
