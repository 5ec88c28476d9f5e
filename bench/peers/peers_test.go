package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"brood/bench"
	"brood/kernels"
)

func TestWorkloadOfPythonEqualsBroods(t *testing.T) {
	text, err := os.ReadFile("workload.py")
	require.NoError(t, err)
	python := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^([A-Z_]+) = (.+)$`).FindAllStringSubmatch(string(text), -1) {
		python[m[1]] = m[2]
	}
	c := bench.CartPole(1)
	assert.Equal(t, strconv.Quote(c.Env.Spec().ID), python["ENV"])
	assert.Equal(t, "("+strings.Join(texts(c.Hidden), ", ")+")", python["HIDDEN"])
	h := c.Hyperparameters
	for name, want := range map[string]float64{
		"ENVIRONMENTS": float64(c.Environments), "STEPS": float64(c.Steps), "EPOCHS": float64(c.Epochs), "MINIBATCHES": float64(c.Minibatches),
		"LEARNING_RATE": float64(h[kernels.LearningRate]), "GAMMA": float64(h[kernels.Gamma]), "GAE_LAMBDA": float64(h[kernels.GAELambda]),
		"CLIP_RANGE": float64(h[kernels.ClipRange]), "ENTROPY_COEF": float64(h[kernels.EntropyCoef]), "VALUE_COEF": float64(h[kernels.ValueCoef]),
		"MAX_GRAD_NORM": float64(h[kernels.MaxGradNorm]),
	} {
		got, err := strconv.ParseFloat(python[name], 64)
		require.NoError(t, err, name)
		assert.InEpsilon(t, want, got, 1e-6, name)
	}
	// What the programs have no constant for.
	assert.Equal(t, kernels.Tanh, c.Activation)
	assert.Equal(t, kernels.ScalarCritic, c.Critic.Type)
	assert.True(t, c.NormalizeAdvantage)
	assert.False(t, c.NormalizeObservations || c.NormalizeRewards || c.KLPenalty.Enabled)
	// No other program has it: the report has to say that brood does more.
	assert.Equal(t, c.VGS.Enabled, strings.Contains(notes, "variance gradient scaler is on"))
	assert.Zero(t, c.TargetKL)
	assert.Zero(t, h[kernels.ValueClip])
}

// measured has one result for each speed, with 1.5 cores used.
func measured(name string, population int, speeds ...float64) *program {
	p := &program{name: name, population: population}
	for _, s := range speeds {
		p.results = append(p.results, result{Name: name, Version: "1.0", EnvStepsPerSecond: s, EnvSteps: 100, Seconds: 2, CPUSeconds: 3, Threads: 2})
	}
	return p
}

func TestTableHasMediansRatiosAndReasons(t *testing.T) {
	failed := &program{name: "sbx", population: 1, err: errors.New("not installed: pip | says\nno")}
	m := machine{processor: "Fast (R) 9000", cores: 2, system: "linux/amd64", load: "0.1 0.2 0.3", commit: "abc123"}
	got := markdown(m, 3, time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC), []*program{
		measured("brood", 1, 3000, 1000, 2000), measured("brood", 8, 4000000), measured("rejax", 8, 1000, 500), failed,
	})
	for _, line := range []string{
		"- Processor: Fast (R) 9000, 2 cores (linux/amd64)",
		"- Load average before the first run: 0.1 0.2 0.3",
		"- Date: 2026-03-04; brood at abc123; 3 rounds",
		"| program | version | population | threads | env-steps/s | brood (1) / it | brood (8) / it | cores used |",
		"|---|---|---:|---:|---:|---:|---:|---:|",
		"| brood | 1.0 | 1 | 2 | 2,000 (1,000 to 3,000) | 1.00 | 2000.00 | 1.5 |",
		"| brood | 1.0 | 8 | 2 | 4,000,000 (4,000,000 to 4,000,000) | 0.00 | 1.00 | 1.5 |",
		"| rejax | 1.0 | 8 | 2 | 750 (500 to 1,000) | 2.67 | 5333.33 | 1.5 |",
		"| sbx | not installed: pip / says no | 1 | - | not measured | - | - | - |",
	} {
		assert.Contains(t, got, line+"\n")
	}
}

func TestTableWithoutBrood(t *testing.T) {
	failed := &program{name: "brood", population: 1, err: errors.New("round 1 failed")}
	got := markdown(machine{}, 1, time.Now(), []*program{failed, measured("rejax", 1, 10)})
	assert.Contains(t, got, "| rejax | 1.0 | 1 | 2 | 10 (10 to 10) | - | 1.5 |\n")
	assert.NotContains(t, got, "Load average")
}

func TestUnsteadyRowsAreNamed(t *testing.T) {
	failed := &program{name: "sbx", population: 1, err: errors.New("not installed")}
	programs := []*program{measured("brood", 8, 100, 120, 110), measured("sb3", 1, 35000, 2000, 35500), failed}
	got := markdown(machine{}, 3, time.Now(), programs)
	assert.Contains(t, got, "\n**The machine was not quiet**")
	assert.Contains(t, got, " differs for sb3 (1) by a factor of 17.8. Do not rely")
	assert.NotContains(t, markdown(machine{}, 3, time.Now(), []*program{programs[0], failed}), "not quiet")
}

func TestSlug(t *testing.T) {
	assert.Equal(t, "amd-epyc-9b14", slug("AMD EPYC 9B14"))
	assert.Equal(t, "intel-xeon-cpu-2-20ghz", slug("Intel(R) Xeon(R) CPU @ 2.20GHz"))
}

func TestParse(t *testing.T) {
	good := `{"name":"x","version":"1","env_steps_per_second":5,"env_steps":10,"seconds":2,"cpu_seconds":3,"threads":2}`
	r, err := parse("a library's greeting\n" + good + "\n")
	require.NoError(t, err)
	assert.Equal(t, result{"x", "1", 5, 10, 2, 3, 2}, r)
	for _, bad := range []string{"", "no JSON", strings.Replace(good, `:5,`, `:0,`, 1), strings.Replace(good, `:10,`, `:0,`, 1),
		strings.Replace(good, `"1"`, `""`, 1), strings.Replace(good, `"seconds":2`, `"seconds":0`, 1), good + "\nmore"} {
		_, err := parse(bad)
		assert.Error(t, err, bad)
	}
}

func script(t *testing.T, body string) string {
	file := filepath.Join(t.TempDir(), "runner")
	require.NoError(t, os.WriteFile(file, []byte("#!/bin/sh\n"+body+"\n"), 0o755))
	return file
}

func TestFailedProgramIsReportedAndNotRunAgain(t *testing.T) {
	p := &program{name: "x", population: 1, command: []string{script(t, "echo first >&2; echo reason >&2; exit 3")}}
	measure(t.Context(), "", p, 0)
	require.ErrorContains(t, p.err, "round 1 failed: exit status 3: reason")
	before := p.err
	p.command = []string{script(t, "touch again")}
	measure(t.Context(), t.TempDir(), p, 1)
	assert.Equal(t, before, p.err)
	assert.Empty(t, p.results)
}

func TestRunnersHaveNoGPU(t *testing.T) {
	t.Setenv("CUDA_VISIBLE_DEVICES", "0")
	p := &program{name: "x", command: []string{script(t,
		`echo '{"version":"'"$JAX_PLATFORMS,$CUDA_VISIBLE_DEVICES"'","env_steps_per_second":1,"env_steps":1,"seconds":1}'`)}}
	measure(t.Context(), "", p, 0)
	require.NoError(t, p.err)
	assert.Equal(t, "cpu,", p.results[0].Version)
}

func TestMissingPythonIsTheReasonOfEveryPeer(t *testing.T) {
	e := environment{root: t.TempDir(), python: filepath.Join(t.TempDir(), "no-python")}
	programs := list("brood", e.interpreter(), ".")
	e.install(context.Background(), programs)
	for _, p := range programs {
		if p.name == "brood" {
			assert.NoError(t, p.err)
			continue
		}
		assert.ErrorContains(t, p.err, "not installed: ", p.name)
		assert.ErrorContains(t, p.err, "no-python", p.name)
	}
}

func TestPackageThatCannotBeInstalledIsTheReasonOfItsPrograms(t *testing.T) {
	e := environment{root: t.TempDir()}
	require.NoError(t, os.MkdirAll(filepath.Dir(e.interpreter()), 0o755))
	// Installs everything but rejax.
	pip := `case "$*" in *rejax) echo "ERROR: no such version"; echo "hint: try another"; exit 1;; esac`
	require.NoError(t, os.WriteFile(e.interpreter(), []byte("#!/bin/sh\n"+pip+"\n"), 0o755))
	programs := list("brood", e.interpreter(), ".")
	e.install(context.Background(), programs)
	for _, p := range programs {
		if p.pip == "rejax" {
			assert.ErrorContains(t, p.err, "not installed: pip install rejax: exit status 1: ERROR: no such version")
		} else {
			assert.NoError(t, p.err, p.name)
		}
	}
}
