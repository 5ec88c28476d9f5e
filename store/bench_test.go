package store

import (
	"bytes"
	"context"
	"fmt"
	"testing"
)

// BenchmarkPut measures a checkpoint of 64 members, 16 at a time, and one large
// file; the time includes reading back. The server of the bucket is another process
// on the same machine.
func BenchmarkPut(b *testing.B) {
	stores := map[string]func(*testing.B) Store{
		"folder": func(b *testing.B) Store { return open(b, b.TempDir()) },
		"bucket": func(b *testing.B) Store { return open(b, testURL(serverAddress(b))) },
	}
	for name, fresh := range stores {
		b.Run(name+"/64x110kB", func(b *testing.B) {
			s, data := fresh(b), random(110_000, 1)
			b.SetBytes(64 * int64(len(data)))
			for b.Loop() {
				err := each(b.Context(), 64, 16, func(ctx context.Context, i int) error {
					return s.Put(ctx, fmt.Sprintf("set/member-%03d.ckpt", i), bytes.NewReader(data), int64(len(data)))
				})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/64MiB", func(b *testing.B) {
			s, data := fresh(b), random(64<<20, 1)
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if err := s.Put(b.Context(), "big", bytes.NewReader(data), int64(len(data))); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
