package main

import (
	"bufio"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A run is watched from outside while it trains, and the figures grow.
func TestMetricsOfARun(t *testing.T) {
	dir := workplace(t)
	cmd := exec.Command(binary, "train", "small.yaml", "--out", "a", "--metrics", "0", "--set", "run.total_steps=1e10", "--set", "checkpoint.every=1")
	cmd.Dir = dir
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer func() { _ = cmd.Process.Kill() }()
	lines := bufio.NewScanner(stderr)
	require.True(t, lines.Scan())
	url, found := strings.CutPrefix(lines.Text(), "metrics at ")
	require.True(t, found, lines.Text())
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		for lines.Scan() {
		}
	}()

	scrape := func() map[string]float64 {
		response, err := http.Get(url)
		require.NoError(t, err)
		defer response.Body.Close()
		parser := expfmt.NewTextParser(model.LegacyValidation)
		families, err := parser.TextToMetricFamilies(response.Body)
		require.NoError(t, err)
		values := map[string]float64{}
		for name, family := range families {
			m := family.Metric[len(family.Metric)-1]
			values[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
		return values
	}
	first := map[string]float64{}
	for first["brood_updates_total"] == 0 || first["brood_checkpoints_total"] == 0 || first["brood_exploits_total"] == 0 {
		first = scrape()
	}
	now := first
	for now["brood_updates_total"] == first["brood_updates_total"] {
		now = scrape()
	}
	assert.Equal(t, 256*now["brood_updates_total"], now["brood_env_steps_total"])
	assert.Greater(t, now["brood_exploits_total"], first["brood_exploits_total"]-1)
	assert.Positive(t, now["brood_member_return"])
	assert.Positive(t, now["brood_member_hyperparameter"])
	assert.Less(t, now["brood_checkpoint_age_seconds"], 600.0)
	assert.LessOrEqual(t, now["brood_checkpoint_update"], now["brood_updates_total"])
	assert.Positive(t, now["process_resident_memory_bytes"])

	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	<-drained
	_ = cmd.Wait()
	require.Equal(t, exitInterrupted, cmd.ProcessState.ExitCode())
	_, err = http.Get(url) //nolint:bodyclose // there is none
	require.Error(t, err, "the server ends with the run")
}

// Nothing is begun where the address cannot be used.
func TestMetricsAddressThatCannotBeUsed(t *testing.T) {
	dir := workplace(t)
	_, errs, code := brood(t, dir, "train", "small.yaml", "--out", "a", "--metrics", "nowhere")
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, `--metrics: the address "nowhere" is not valid: want PORT, HOST:PORT`)
	_, errs, code = brood(t, dir, "train", "small.yaml", "--out", "a", "--metrics", "203.0.113.1:9")
	require.Equal(t, exitFailed, code)
	require.Contains(t, errs, "cannot assign requested address")
	_, err := os.Stat(filepath.Join(dir, "a"))
	require.ErrorIs(t, err, os.ErrNotExist)
}
