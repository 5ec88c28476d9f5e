//go:build cuda

package cu

import (
	"bytes"
	"compress/gzip"
	"embed"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// images are what make ptx built of the .cu files: a cubin for each architecture
// that was compiled for, PTX for every other, and the names of the kernels.
//
//go:embed images/*.gz images/kernels.txt
var images embed.FS

// image returns the image for a device's compute capability and its name: the
// cubin of the same major and the highest minor that is not above the device's,
// which is what the driver accepts; else the PTX, which the driver compiles when
// it loads it.
func image(major, minor int) (name string, data []byte, err error) {
	files, err := images.ReadDir("images")
	if err != nil {
		return "", nil, fmt.Errorf("cu: the embedded images: %w", err)
	}
	name, best := "kernels.ptx", -1
	for _, f := range files {
		digits, ok := strings.CutPrefix(strings.TrimSuffix(f.Name(), ".cubin.gz"), "sm_")
		if !ok {
			continue
		}
		m, n, err := capability(digits)
		if err != nil {
			return "", nil, fmt.Errorf("cu: the embedded image %s: %w", f.Name(), err)
		}
		if m == major && n <= minor && n > best {
			name, best = "sm_"+digits+".cubin", n
		}
	}
	if data, err = unpack(name); err != nil {
		return "", nil, err
	}
	if best < 0 {
		err = checkTarget(data, major, minor)
	}
	return name, data, err
}

// capability splits the digits of an architecture: 90 is 9.0, 120 is 12.0.
func capability(digits string) (major, minor int, err error) {
	n, err := strconv.Atoi(digits)
	return n / 10, n % 10, err
}

// unpack returns the uncompressed image.
func unpack(name string) ([]byte, error) {
	packed, err := images.ReadFile("images/" + name + ".gz")
	if err != nil {
		return nil, fmt.Errorf("cu: the embedded image %s: %w", name, err)
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("cu: the embedded image %s: %w", name, err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("cu: the embedded image %s: %w", name, err)
	}
	return data, nil
}

// checkTarget refuses a device that is older than the PTX is for.
func checkTarget(ptx []byte, major, minor int) error {
	_, rest, ok := strings.Cut(string(ptx), "\n.target sm_")
	if !ok {
		return errors.New("cu: the embedded PTX has no .target")
	}
	line, _, _ := strings.Cut(rest, "\n")
	m, n, err := capability(strings.TrimSpace(line))
	if err != nil {
		return fmt.Errorf("cu: the embedded PTX's .target: %w", err)
	}
	if major < m || major == m && minor < n {
		return fmt.Errorf("cu: the device has compute capability %d.%d; the kernels are built for %d.%d and later", major, minor, m, n)
	}
	return nil
}

// kernelNames are the names of all kernels of an image, sorted.
func kernelNames() ([]string, error) {
	list, err := images.ReadFile("images/kernels.txt")
	if err != nil {
		return nil, fmt.Errorf("cu: the embedded kernel names: %w", err)
	}
	names := strings.Fields(string(list))
	if len(names) == 0 {
		return nil, errors.New("cu: the embedded images/kernels.txt lists no kernel")
	}
	return names, nil
}
