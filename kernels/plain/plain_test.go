package plain_test

import (
	"testing"

	"brood/kernels/conformance"
	"brood/kernels/plain"
)

func TestGolden(t *testing.T)      { conformance.Golden(t, plain.New) }
func TestConformance(t *testing.T) { conformance.Run(t, plain.New) }
