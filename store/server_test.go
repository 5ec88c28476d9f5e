package store

import (
	"context"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"

	"brood/store/storetest"
)

// otherBucket names a variable with the URL of a bucket of another server, which the
// contract is then checked against, too. Credentials are found as always.
const otherBucket = "BROOD_TEST_S3"

func serverAddress(t testing.TB) string { return storetest.Address(t) }

func testURL(address string) string { return storetest.URL(address) }

const (
	testBucket = storetest.Bucket
	testID     = storetest.ID
	testSecret = storetest.Secret
)

func TestMain(m *testing.M) {
	// Whatever identity the machine has, the tests have their own.
	for _, v := range []string{"AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_CA_BUNDLE"} {
		if os.Getenv(otherBucket) == "" {
			os.Unsetenv(v)
		}
	}
	// The client waits after a failed attempt even where it makes no other.
	minio.DefaultRetryUnit = time.Millisecond
	os.Exit(m.Run())
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
