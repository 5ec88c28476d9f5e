//go:build !unix

package doctor

import (
	"fmt"
	"runtime"
)

func freeBytes(string) (float64, error) {
	return 0, fmt.Errorf("this program cannot ask %s for it", runtime.GOOS)
}
