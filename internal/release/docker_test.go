package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// There may be no Docker where this runs: what can be read in the Dockerfile is
// checked. Its Go is that of go.mod, stages are there before they are copied from,
// what is copied is not ignored, and nothing runs as root.
func TestDockerfile(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile("../../" + name)
		require.NoError(t, err)
		return string(text)
	}
	file := read("Dockerfile")
	goVersion := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read("go.mod"))
	require.NotNil(t, goVersion)
	ignored := map[string]bool{}
	for _, line := range strings.Split(read(".dockerignore"), "\n") {
		ignored[strings.TrimSpace(line)] = true
	}
	stages, stage := map[string]bool{}, ""
	user := map[string]string{}
	for _, line := range strings.Split(file, "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(line, "#") {
			continue
		}
		switch fields[0] {
		case "FROM":
			require.Len(t, fields, 4, line)
			if strings.HasPrefix(fields[1], "golang:") {
				assert.Equal(t, "golang:"+goVersion[1]+"-bookworm", fields[1])
			}
			assert.True(t, stages[fields[1]] || fields[1] == "scratch" || strings.Contains(fields[1], ":"), "%s has a tag or is a stage", fields[1])
			stage = fields[3]
			stages[stage] = true
		case "COPY":
			from := ""
			for _, field := range fields[1:] {
				if name, ok := strings.CutPrefix(field, "--from="); ok {
					from = name
				}
			}
			if from != "" {
				assert.True(t, stages[from], line)
				continue
			}
			for _, source := range fields[1 : len(fields)-1] {
				assert.False(t, ignored[source], "%s is in .dockerignore", source)
				_, err := os.Stat("../../" + source)
				assert.NoError(t, err)
			}
		case "USER":
			user[stage] = fields[1]
		}
	}
	for _, target := range []string{"cpu", "cuda"} {
		assert.Equal(t, "65532:65532", user[target], "%s runs as somebody without rights", target)
	}
	for _, needed := range []string{"cmd", "cuda", "go.mod", "go.sum", "docs", "presets", "kernels"} {
		assert.False(t, ignored[needed] || ignored["/"+needed], needed)
	}
	assert.Contains(t, file, "-X brood/internal/version.stamped=")
}
