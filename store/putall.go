package store

import (
	"context"
	"fmt"
	"os"
	"sync"
)

// File is a file of the local disk and the name it gets in a store.
type File struct {
	Name string
	Path string
}

// PutAll puts the files, at most parallel (at least 1) at a time, in no particular
// order: what marks a set as complete belongs in a Put that follows. The first
// failure ends the others, and PutAll returns once all have ended; files that were
// put by then stay.
func PutAll(ctx context.Context, s Store, files []File, parallel int) error {
	if parallel < 1 {
		return fmt.Errorf("store: put %d files in %s: parallel is %d; it must be at least 1", len(files), s, parallel)
	}
	return each(ctx, len(files), parallel, func(ctx context.Context, i int) error {
		return putFile(ctx, s, files[i])
	})
}

func putFile(ctx context.Context, s Store, file File) error {
	f, err := os.Open(file.Path)
	if err != nil {
		return fmt.Errorf("store: put %s in %s: %w", file.Name, s, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("store: put %s in %s: %w", file.Name, s, err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("store: put %s in %s: %s is not a regular file", file.Name, s, file.Path)
	}
	return s.Put(ctx, file.Name, f, info.Size())
}

// each calls f for 0 to n-1 on at most parallel goroutines. The first error ends
// the context of the other calls and is returned once all have returned.
func each(ctx context.Context, n, parallel int, f func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	var wg sync.WaitGroup
	var once sync.Once
	var first error
	for range min(n, parallel) {
		wg.Go(func() {
			for i := range next {
				if err := f(ctx, i); err != nil {
					once.Do(func() { first = err })
					cancel(err)
				}
			}
		})
	}
	for i := 0; i < n && ctx.Err() == nil; i++ {
		select {
		case next <- i:
		case <-ctx.Done():
		}
	}
	close(next)
	wg.Wait()
	if first == nil && ctx.Err() != nil {
		first = context.Cause(ctx)
	}
	return first
}
