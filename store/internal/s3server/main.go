// Command s3server is the S3-compatible server that the tests of package store run
// against. It keeps objects in memory, checks signatures, and ends when its
// standard input does, so that it never outlives the test that started it.
//
// It is in a module of its own, so that users of the packages do not depend on it.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/rclone/gofakes3"
	"github.com/rclone/gofakes3/s3mem"
)

// backend keeps the objects. To it, as to Amazon, an empty delimiter is none; the
// library would take it for one that is everywhere.
type backend struct{ *s3mem.Backend }

func (b backend) ListBucket(ctx context.Context, name string, prefix *gofakes3.Prefix, page gofakes3.ListBucketPage) (*gofakes3.ObjectList, error) {
	if prefix != nil && prefix.Delimiter == "" {
		plain := *prefix
		plain.HasDelimiter = false
		prefix = &plain
	}
	return b.Backend.ListBucket(ctx, name, prefix, page)
}

func main() {
	buckets := flag.String("buckets", "", "names of the buckets, separated by commas")
	id := flag.String("id", "", "the access key's ID")
	secret := flag.String("secret", "", "the access key's secret")
	flag.Parse()
	log.SetFlags(0)
	if *buckets == "" || *id == "" || *secret == "" || flag.NArg() > 0 {
		log.Fatal("s3server: -buckets, -id and -secret are needed, and nothing else")
	}

	objects := backend{s3mem.New()}
	for name := range strings.SplitSeq(*buckets, ",") {
		if err := objects.CreateBucket(context.Background(), name); err != nil {
			log.Fatalf("s3server: make the bucket %q: %v", name, err)
		}
	}
	handler := gofakes3.New(objects, gofakes3.WithV4Auth(map[string]string{*id: *secret})).Server()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatalf("s3server: %v", err)
	}
	// The test reads the address from this line.
	fmt.Println(listener.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	log.Fatal(http.Serve(listener, handler))
}
