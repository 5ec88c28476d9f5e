// Package storetest starts an S3-compatible server for tests.
package storetest

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"brood/internal/pyenv"
)

// What the server has and takes.
const (
	Bucket = "brood-test"
	ID     = "AKIDTEST"
	Secret = "not-a-secret/of+anything"
)

// server is that of this process. It ends with the process: its standard input does.
var server struct {
	once    sync.Once
	input   any // kept open
	address string
	// missing says why there can be none on this machine; failed, what is broken.
	missing, failed error
}

// Address builds and starts the server, once in a process, and gives its host and
// port. It sets the credentials for the test.
func Address(t testing.TB) string {
	t.Helper()
	server.once.Do(start)
	require.NoError(t, server.failed)
	if server.missing != nil {
		pyenv.Missing(t, "the S3-compatible server of the tests cannot be built: %v", server.missing)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", ID)
	t.Setenv("AWS_SECRET_ACCESS_KEY", Secret)
	return server.address
}

// URL is that of a place of its own in the bucket, behind an address.
func URL(address string) string {
	return fmt.Sprintf("s3://%s/%016x?endpoint=http://%s&region=us-east-1", Bucket, rand.Uint64(), address)
}

func start() {
	dir, err := os.MkdirTemp("", "brood-s3server-")
	if err != nil {
		server.failed = err
		return
	}
	defer os.RemoveAll(dir) // a process that runs needs its file no more
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
	server.address, server.failed = run(binary)
}

func run(binary string) (address string, err error) {
	cmd := exec.Command(binary, "-buckets", Bucket, "-id", ID, "-secret", Secret)
	if server.input, err = cmd.StdinPipe(); err != nil {
		return "", err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	return strings.TrimSpace(line), err
}

// command runs in the folder of the server's own module.
func command(name string, args ...string) *exec.Cmd {
	_, file, _, _ := runtime.Caller(0)
	cmd := exec.Command(name, args...)
	cmd.Dir = filepath.Join(filepath.Dir(file), "s3server")
	return cmd
}
