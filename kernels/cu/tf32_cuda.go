//go:build cuda

package cu

import (
	"fmt"
	"strings"
)

// TF32 says why the kernels that use tensor cores (their names contain "tf32")
// cannot run: nil where they can. They need compute capability 8.0, and an image
// that was compiled for it or a later one; in an older one they stop with an
// error. Ask once, before the first launch.
func (k *Kernels) TF32() error {
	target, ok := strings.CutPrefix(strings.TrimSuffix(k.Image, ".cubin"), "sm_")
	if !ok {
		data, err := unpack(k.Image)
		if err != nil {
			return err
		}
		_, rest, _ := strings.Cut(string(data), "\n.target sm_")
		target, _, _ = strings.Cut(rest, "\n")
	}
	major, minor, err := capability(strings.TrimSpace(target))
	if err != nil {
		return fmt.Errorf("cu: what %s was compiled for: %w", k.Image, err)
	}
	if major < 8 {
		return fmt.Errorf("cu: tf32 needs kernels compiled for compute capability 8.0 or later; "+
			"%s, which was loaded for this device, is for %d.%d", k.Image, major, minor)
	}
	return nil
}
