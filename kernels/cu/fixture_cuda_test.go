//go:build cuda

package cu

import (
	"os"
	"testing"

	"brood/cuda"
	"brood/kernels"
	"brood/kernels/plain"
	"brood/tensor"
)

// fixture is a device with everything allocated that a configuration needs, and
// a plain engine of the same configuration beside it, whose fresh members' states
// the device has.
type fixture struct {
	t      *testing.T
	ctx    *cuda.Context
	k      *Kernels
	stream *cuda.Stream
	plan   *Plan
	params Params
	engine kernels.Engine
}

func newFixture(t *testing.T, c *kernels.Config) *fixture {
	t.Helper()
	return newFixtureWith(t, c, false)
}

// newFixtureWith is newFixture, where tiled plans without the kernels for small
// networks.
func newFixtureWith(t *testing.T, c *kernels.Config, tiled bool) *fixture {
	t.Helper()
	ctx, err := cuda.Open(0)
	if err != nil {
		if os.Getenv("BROOD_REQUIRE_ALL") == "1" {
			t.Fatalf("no device: %v", err)
		}
		t.Skipf("no device: %v", err)
	}
	f := &fixture{t: t, ctx: ctx}
	t.Cleanup(func() {
		if err := ctx.Close(); err != nil {
			t.Errorf("closing the context: %v", err)
		}
	})
	if f.plan, err = NewPlan(c, 0, tiled); err != nil {
		t.Fatal(err)
	}
	if f.engine, err = plain.New(c); err != nil {
		t.Fatal(err)
	}
	f.run(func() error {
		if f.stream, err = ctx.NewStream(); err != nil {
			return err
		}
		if f.k, err = Load(ctx); err != nil {
			return err
		}
		return f.plan.Allocate(ctx, f.stream)
	})
	f.params = f.plan.Params
	for m := range c.Population {
		s := tensor.NewMember(f.plan.Layout)
		if err := f.engine.Snapshot(m, s); err != nil {
			t.Fatal(err)
		}
		f.setState(m, s)
	}
	return f
}

// run does work on the context's thread and waits for the device.
func (f *fixture) run(work func() error) {
	f.t.Helper()
	err := f.ctx.Do(func() error {
		if err := work(); err != nil {
			return err
		}
		return f.stream.Synchronize()
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

// upload writes elements to device memory.
func upload[E any](f *fixture, at Ptr, x []E) {
	f.t.Helper()
	f.run(func() error { return f.stream.CopyToDevice(uint64(at), cuda.BytesOf(x)) })
}

// download reads n elements of device memory.
func download[E any](f *fixture, at Ptr, n int) []E {
	f.t.Helper()
	x := make([]E, n)
	f.run(func() error { return f.stream.CopyToHost(cuda.BytesOf(x), uint64(at)) })
	return x
}

// setState overwrites a member's state on the device.
func (f *fixture) setState(m int, s tensor.Member) {
	f.t.Helper()
	upload(f, f.params.State+Ptr(int64(m)*f.params.Stride), s.Bytes())
}

// states are copies of all members' states on the device.
func (f *fixture) states() []tensor.Member {
	f.t.Helper()
	all := make([]tensor.Member, f.params.Members)
	for m := range all {
		all[m] = tensor.NewMember(f.plan.Layout)
		copy(all[m].Bytes(), download[byte](f, f.params.State+Ptr(int64(m)*f.params.Stride), int(f.params.Stride)))
	}
	return all
}
