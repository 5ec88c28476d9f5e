package store

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"brood/internal/pyenv"
)

// otherBucket names a variable with the URL of a bucket of another server, which the
// contract is then checked against, too. Credentials are found as always.
const otherBucket = "BROOD_TEST_S3"

const (
	testBucket = "brood-test"
	testID     = "AKIDTEST"
	testSecret = "not-a-secret/of+anything"
)

// server is the S3-compatible server of this process's tests.
var server struct {
	once    sync.Once
	dir     string
	cmd     *exec.Cmd
	stop    func() error
	address string
	// missing says why there can be none on this machine; failed, what is broken.
	missing, failed error
}

func TestMain(m *testing.M) {
	// Whatever identity the machine has, the tests have their own.
	for _, v := range []string{"AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_CA_BUNDLE"} {
		if os.Getenv(otherBucket) == "" {
			os.Unsetenv(v)
		}
	}
	code := m.Run()
	if server.cmd != nil {
		// Its standard input ends, and it with it; the kill is for one that hangs.
		_ = server.stop()
		timer := time.AfterFunc(5*time.Second, func() { _ = server.cmd.Process.Kill() })
		_ = server.cmd.Wait()
		timer.Stop()
	}
	if server.dir != "" {
		os.RemoveAll(server.dir)
	}
	os.Exit(code)
}

// serverAddress builds and starts the server once, and gives its host and port. It
// sets the credentials for the test.
func serverAddress(t testing.TB) string {
	t.Helper()
	server.once.Do(startServer)
	require.NoError(t, server.failed)
	if server.missing != nil {
		pyenv.Missing(t, "the S3-compatible server of the tests cannot be built: %v", server.missing)
	}
	t.Setenv(envKeyID, testID)
	t.Setenv(envSecret, testSecret)
	return server.address
}

func startServer() {
	dir, err := os.MkdirTemp("", "brood-s3server-")
	if err != nil {
		server.failed = err
		return
	}
	server.dir = dir
	binary := filepath.Join(dir, "s3server")
	began := time.Now()
	if out, err := command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		err = fmt.Errorf("%w: %s", err, out)
		if command("go", "mod", "download").Run() == nil {
			server.failed = err
		} else {
			server.missing = err
		}
		return
	}
	fmt.Printf("built the S3-compatible server in %.1f s\n", time.Since(began).Seconds())
	cmd := exec.Command(binary, "-buckets", testBucket, "-id", testID, "-secret", testSecret)
	in, err := cmd.StdinPipe()
	if err != nil {
		server.failed = err
		return
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		server.failed = err
		return
	}
	if server.failed = cmd.Start(); server.failed != nil {
		return
	}
	server.cmd, server.stop = cmd, in.Close
	line, err := bufio.NewReader(out).ReadString('\n')
	server.address, server.failed = strings.TrimSpace(line), err
}

// command runs in the folder of the server's own module.
func command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = filepath.Join("internal", "s3server")
	return cmd
}

// testURL is the URL of a place of its own in the server's bucket, behind address.
func testURL(address string) string {
	return fmt.Sprintf("s3://%s/%016x?endpoint=http://%s&region=us-east-1", testBucket, rand.Uint64(), address)
}

// impatient tries as often as patient does, but tests do not wait for long.
var impatient = policy{attempts: 5, base: time.Millisecond, limit: 5 * time.Millisecond}

// openTest opens a bucket with settings, which the tests of faults choose.
func openTest(t testing.TB, url string, s settings) *bucket {
	t.Helper()
	b, err := openTestBucket(t.Context(), t, url, s)
	require.NoError(t, err)
	return b
}

func openTestBucket(ctx context.Context, t testing.TB, url string, s settings) (*bucket, error) {
	t.Helper()
	loc, err := parse(url)
	require.NoError(t, err)
	require.Empty(t, loc.folder)
	if s.policy.attempts == 0 {
		s.policy = impatient
	}
	if s.opening.attempts == 0 {
		s.opening = impatient
	}
	return openBucket(ctx, loc.bucket, s)
}

// random gives n bytes that no compression or repetition makes equal.
func random(n int, seed uint64) []byte {
	data := make([]byte, n)
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	_, _ = rand.NewChaCha8(key).Read(data)
	return data
}
