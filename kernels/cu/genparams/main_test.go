package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHeaderIsGenerated(t *testing.T) {
	header, err := os.ReadFile("../params.cuh")
	require.NoError(t, err)
	require.Equal(t, Header(), string(header), "params.cuh differs from params.go; run make generate")
}
