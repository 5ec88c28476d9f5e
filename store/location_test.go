package store

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCheck(t *testing.T) {
	for _, url := range []string{
		"runs/a", "/mnt/backup/runs", "with space?&#", "file:///mnt/backup", "file://localhost/mnt", "s3://bucket", "s3://bucket/", "s3://bucket/runs/a/",
		"S3://bucket/a", "s3://my.bucket_1-x/p?endpoint=127.0.0.1:9000&region=eu-central-1&path_style=true", "s3://bucket?endpoint=http://[::1]:9000",
		"s3://bucket?endpoint=https://minio.example.com/",
	} {
		assert.NoError(t, Check(url), url)
	}
	for url, want := range map[string]string{
		"":                                   "empty",
		"gs://bucket":                        "gs://",
		"https://host/bucket":                "https://",
		"file://host/path":                   `"host"`,
		"file://":                            "absolute",
		"s3://":                              "bucket's name",
		"s3://ab":                            "bucket's name",
		"s3://127.0.0.1:9000/bucket":         "goes into endpoint",
		"s3://bucket/a//b":                   "empty part",
		"s3://bucket/../b":                   "part ..",
		"s3://bucket/.tmp-x":                 ".tmp-",
		"s3://bucket#x":                      "#",
		"s3://bucket?access_key=x":           `"access_key"; the parameters are endpoint, path_style, region`,
		"s3://bucket?region=":                "one value",
		"s3://bucket?region=a&region=b":      "one value",
		"s3://bucket?region=a/b":             "letters, digits",
		"s3://bucket?path_style=maybe":       "true or false",
		"s3://bucket?endpoint=ftp://host":    "http:// or https://",
		"s3://bucket?endpoint=host/path":     "HOST:PORT",
		"s3://bucket?endpoint=http://a@host": "credentials",
		"s3://bucket/%zz":                    "cannot be read",
	} {
		err := Check(url)
		require.ErrorIs(t, err, ErrURL, url)
		assert.ErrorContains(t, err, want, url)
		assert.ErrorContains(t, err, "s3://BUCKET[/PREFIX]", "the error says what is valid")
	}
}

func TestCheckHidesSecrets(t *testing.T) {
	for _, url := range []string{
		"s3://AKID:hunter2@bucket/p", "s3://AKID:hunter2%zz@bucket", "s3://AKID:hunter2@bucket?endpoint=x", "gs://AKID:hunter2@bucket", "s3://bucket?endpoint=http://AKID:hunter2@host",
		"s3://bucket?secret_key=hunter2", "s3://bucket?region=a;secret=hunter2",
	} {
		err := Check(url)
		require.ErrorIs(t, err, ErrURL)
		assert.NotContains(t, err.Error(), "hunter2")
	}
	assert.ErrorContains(t, Check("s3://AKID:hunter2@bucket"), "AWS_ACCESS_KEY_ID")
}

func TestIsURL(t *testing.T) {
	assert.True(t, IsURL("s3://bucket"))
	assert.True(t, IsURL("S3://bucket"))
	for _, folder := range []string{"", "s3", "s3:/a", "/mnt", "file:///mnt", "a/s3://b"} {
		assert.False(t, IsURL(folder), folder)
	}
}

func TestEnvironmentOfLocation(t *testing.T) {
	read := func(url string) bucketLocation {
		loc, err := parse(url)
		require.NoError(t, err)
		require.NoError(t, loc.bucket.fromEnvironment())
		return loc.bucket
	}
	assert.Equal(t, "https://s3.amazonaws.com", ptr(read("s3://bucket")).address())
	t.Setenv("AWS_ENDPOINT_URL", "http://general:1")
	t.Setenv("AWS_DEFAULT_REGION", "r-default")
	assert.Equal(t, "s3://bucket?endpoint=http://general:1&region=r-default", ptr(read("s3://bucket")).String())
	t.Setenv("AWS_ENDPOINT_URL_S3", "https://special")
	t.Setenv("AWS_REGION", "r-1")
	assert.Equal(t, "s3://bucket/a%20b?endpoint=special&region=r-1", ptr(read("s3://bucket/a b")).String())
	assert.Equal(t, "s3://bucket?endpoint=own:2&region=r-2&path_style=false", strings.Replace(ptr(read("s3://bucket?endpoint=own:2&region=r-2&path_style=false")).String(), "path_style=false&region=r-2", "region=r-2&path_style=false", 1))
	t.Setenv("AWS_ENDPOINT_URL_S3", "nonsense://x")
	loc, err := parse("s3://bucket")
	require.NoError(t, err)
	assert.ErrorContains(t, loc.bucket.fromEnvironment(), "AWS_ENDPOINT_URL_S3")
}

func ptr[T any](v T) *T { return &v }
