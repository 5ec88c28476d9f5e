package doctor

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Whatever this machine lacks, each line has its state, and what is wrong has a fix.
func TestExamine(t *testing.T) {
	t.Chdir(t.TempDir())
	r := Examine()
	names := map[string]bool{}
	for _, f := range r.Findings {
		names[f.Name] = true
		assert.NotEmpty(t, f.Text, f.Name)
		assert.NotContains(t, f.Text+f.Fix, "\n", f.Name)
		assert.Equal(t, f.State == OK, f.Fix == "", "%+v: what is wrong has a fix, and nothing else", f)
	}
	for _, name := range []string{"brood", "cpu", "threads", "memory", "folder", "disk", "clock", "terminal", "python", "gpu", "engine"} {
		assert.True(t, names[name], name)
	}
	assert.True(t, r.Trains)
	assert.NoError(t, r.Err())
	entries, err := os.ReadDir(".")
	require.NoError(t, err)
	assert.Empty(t, entries, "it leaves nothing behind")
}

func TestOnlyWhatIsFatalStopsTraining(t *testing.T) {
	r := &Report{Trains: true}
	r.add(Finding{Name: "python", State: Missing}, Finding{Name: "cpu", State: Warning})
	assert.True(t, r.Trains)
	assert.NoError(t, r.Err())
	r.add(Finding{Name: "disk", State: Missing, Fatal: true}, ok("gpu", "x"))
	assert.False(t, r.Trains)
	assert.EqualError(t, r.Err(), "training does not work here: see disk above")
}

func TestThreads(t *testing.T) {
	assert.Equal(t, OK, threadsFinding(8, 8, math.Inf(1)).State)
	assert.Equal(t, OK, threadsFinding(2, 8, 1.5).State)
	assert.Equal(t, OK, threadsFinding(2, 8, 0.5).State, "Go takes two at least")
	f := threadsFinding(8, 8, 2)
	assert.Equal(t, Warning, f.State)
	assert.Contains(t, f.Text, "the container's limit is 2")
	assert.Contains(t, f.Fix, "--set run.threads=2")
	assert.Equal(t, Warning, threadsFinding(16, 2, math.Inf(1)).State, "more threads than processors")
	for text, want := range map[string]float64{"200000 100000\n": 2, "50000 100000": 0.5, "max 100000\n": math.Inf(1), "": math.Inf(1), "1 0": math.Inf(1)} {
		assert.Equal(t, want, cpuQuota(text), "%q", text)
	}
}

func TestMemoryAndDisk(t *testing.T) {
	assert.Equal(t, OK, memoryFinding(8*gib, 0, false).State)
	low := memoryFinding(8*gib, 300*mib, true)
	assert.Equal(t, Warning, low.State, "the container's limit counts")
	assert.False(t, low.Fatal)
	none := memoryFinding(8*gib, 10*mib, true)
	assert.Equal(t, Missing, none.State)
	assert.True(t, none.Fatal)
	assert.EqualValues(t, 4096, reclaimable("anon 1\ninactive_file 4096\nactive_file 7\n"))
	assert.Zero(t, reclaimable(""))
	bytes, known := kibibytes("24035172 kB")
	assert.True(t, known)
	assert.EqualValues(t, 24035172*1024, bytes)
	_, known = kibibytes("unknown on darwin")
	assert.False(t, known)

	assert.Equal(t, OK, amount("disk", "", 2*gib, leastDisk, lowDisk, "x").State)
	assert.Equal(t, Warning, amount("disk", "", 100*mib, leastDisk, lowDisk, "x").State)
	assert.True(t, amount("disk", "", mib, leastDisk, lowDisk, "x").Fatal)
	assert.Equal(t, Warning, disk(filepath.Join(t.TempDir(), "nowhere")).State)
}

func TestRunFolder(t *testing.T) {
	t.Chdir(t.TempDir())
	assert.Equal(t, OK, runFolder("runs").State)
	require.NoError(t, os.WriteFile("file", nil, 0o644))
	f := runFolder("file")
	assert.Equal(t, Missing, f.State, "a file stands where runs would go")
	assert.True(t, f.Fatal)
	assert.Contains(t, f.Fix, "--out")
	if os.Geteuid() != 0 { // root writes everywhere
		require.NoError(t, os.Mkdir("closed", 0o500))
		assert.True(t, runFolder("closed/runs").Fatal)
	}
}

func TestProcessorAndGPU(t *testing.T) {
	assert.Equal(t, OK, processorFinding("X", []string{"AVX2", "FMA"}, "amd64").State)
	f := processorFinding("Cortex", nil, "arm64")
	assert.Equal(t, Warning, f.State)
	assert.Contains(t, f.Text, "thirty times slower")
	assert.Equal(t, OK, gpuWithoutBuild(false).State)
	assert.Equal(t, Finding{Name: "gpu", State: Warning, Text: "not used: this build has no CUDA engine, and there is an NVIDIA driver", Fix: "make cuda"}, gpuWithoutBuild(true))
}

func TestClockAndTerminal(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	assert.Equal(t, Warning, clockFinding(now, "2026-11-27T00:00:00Z").State)
	assert.Equal(t, OK, clockFinding(now, "2025-11-27T00:00:00Z").State)
	assert.Equal(t, OK, clockFinding(now, "").State, "a build that does not know its time")
	assert.Equal(t, OK, terminalFinding(false, "", "C").State)
	assert.Equal(t, OK, terminalFinding(true, "xterm", "en_US.UTF-8").State)
	assert.Equal(t, OK, terminalFinding(true, "xterm", "C.utf8").State)
	assert.Contains(t, terminalFinding(true, "xterm", "C").Fix, "LANG=C.UTF-8")
	assert.Equal(t, Warning, terminalFinding(true, "dumb", "C.UTF-8").State)
}

// A stand-in for Python prints what the probe would.
func TestPython(t *testing.T) {
	script := func(body string) string {
		path := filepath.Join(t.TempDir(), "python")
		require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"+body), 0o755))
		return path
	}
	f := pythonFinding(script("echo Python 3.11.2; echo gymnasium 1.4.0; echo msgpack 1.2.4"))
	assert.Equal(t, OK, f.State)
	assert.True(t, strings.HasSuffix(f.Text, ": Python 3.11.2, gymnasium 1.4.0, msgpack 1.2.4"), f.Text)
	f = pythonFinding(script("echo Python 3.11.2; echo gymnasium missing; echo msgpack 1.2.4"))
	assert.Equal(t, Missing, f.State)
	assert.True(t, strings.HasSuffix(f.Fix, " -m pip install gymnasium"), f.Fix)
	assert.False(t, f.Fatal, "training needs no Python")
	f = pythonFinding(script("exit 3"))
	assert.Contains(t, f.Text, "does not work: exit status 3")
	f = pythonFinding("no-such-python")
	assert.Contains(t, f.Fix, "apt-get install python3")
	t.Setenv("BROOD_PYTHON", "mine")
	assert.Equal(t, "mine", interpreter())
}
