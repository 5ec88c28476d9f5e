package exporter

import (
	"io"
	"math"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func listen(t *testing.T) *Exporter {
	t.Helper()
	e, err := Listen("0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	return e
}

func get(t *testing.T, url, accept string) (body, contentType string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	request.Header.Set("Accept", accept)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode, string(text))
	return string(text), response.Header.Get("Content-Type")
}

// scrape parses the answer with Prometheus's own parser.
func scrape(t *testing.T, e *Exporter) map[string]*dto.MetricFamily {
	t.Helper()
	text, contentType := get(t, e.URL(), "text/plain;version=0.0.4")
	require.Contains(t, contentType, "text/plain; version=0.0.4")
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	require.NoError(t, err, text)
	return families
}

// sample is the one sample with these labels, each "name=value".
func sample(t *testing.T, families map[string]*dto.MetricFamily, name string, labels ...string) float64 {
	t.Helper()
	require.Contains(t, families, name)
	for _, m := range families[name].Metric {
		var has []string
		for _, l := range m.Label {
			has = append(has, l.GetName()+"="+l.GetValue())
		}
		if strings.Join(has, ",") == strings.Join(labels, ",") {
			return m.GetGauge().GetValue() + m.GetCounter().GetValue() // one of them is absent
		}
	}
	require.Fail(t, "no such sample", "%s %v", name, labels)
	return 0
}

func snapshot() *Snapshot {
	return &Snapshot{Info: map[string]string{"env": "CartPole-v1", "run": `runs/"a"`}, Updates: 7, PlannedUpdates: 12, EnvSteps: 1792, PlannedEnvSteps: 3072, Exploits: 3, EnvStepsPerSecond: 1234.5, Population: 2,
		BestReturn: 20, MedianReturn: math.NaN(), HyperparameterNames: []string{"learning_rate"},
		Members: []Member{{Return: 20, Entropy: 0.5, KL: math.NaN(), Hyperparameters: []float64{1e-3}},
			{Return: math.NaN(), Quarantined: true, Hyperparameters: []float64{2e-3}}},
		CheckpointUpdate: 5, CheckpointAt: time.Now().Add(-90 * time.Second), CheckpointsWritten: 1, CheckpointFailures: 2, Warnings: 4}
}

func TestMetricsAreWhatWasPublished(t *testing.T) {
	e := listen(t)
	before := scrape(t, e)
	require.NotContains(t, before, "brood_updates_total", "no update is done yet")

	e.Publish(snapshot())
	now := scrape(t, e)
	assert.EqualValues(t, 1, sample(t, now, "brood_info", "env=CartPole-v1", `run=runs/"a"`))
	for name, want := range map[string]float64{"brood_updates_total": 7, "brood_updates_planned": 12, "brood_env_steps_total": 1792, "brood_env_steps_planned": 3072,
		"brood_exploits_total": 3, "brood_env_steps_per_second": 1234.5, "brood_population_size": 2, "brood_best_return": 20, "brood_checkpoint_update": 5,
		"brood_checkpoints_total": 1, "brood_checkpoint_failures_total": 2, "brood_warnings_total": 4} {
		assert.InDelta(t, want, sample(t, now, name), 0, name)
		kind := dto.MetricType_GAUGE
		if strings.HasSuffix(name, "_total") {
			kind = dto.MetricType_COUNTER
		}
		assert.Equal(t, kind, now[name].GetType(), name)
	}
	assert.InDelta(t, 90, sample(t, now, "brood_checkpoint_age_seconds"), 30)
	assert.EqualValues(t, 20, sample(t, now, "brood_member_return", "member=0"))
	assert.Len(t, now["brood_member_return"].Metric, 1, "what does not exist has no sample")
	assert.EqualValues(t, 1, sample(t, now, "brood_member_quarantined", "member=1"))
	assert.InDelta(t, 2e-3, sample(t, now, "brood_member_hyperparameter", "member=1", "name=learning_rate"), 0)
	assert.NotContains(t, now, "brood_median_return")
	assert.Len(t, now["brood_member_approx_kl"].Metric, 1)
	assert.Positive(t, sample(t, now, "go_goroutines"))

	none := snapshot()
	none.CheckpointAt = time.Time{}
	e.Publish(none)
	assert.NotContains(t, scrape(t, e), "brood_checkpoint_age_seconds")
}

func TestOpenMetrics(t *testing.T) {
	e := listen(t)
	e.Publish(snapshot())
	text, contentType := get(t, e.URL(), "application/openmetrics-text;version=1.0.0")
	assert.Contains(t, contentType, "application/openmetrics-text")
	assert.True(t, strings.HasSuffix(text, "# EOF\n"))
	assert.Contains(t, text, "# TYPE brood_env_steps counter\n")
	assert.Contains(t, text, "brood_env_steps_total 1792.0\n")
}

func TestAddress(t *testing.T) {
	for given, want := range map[string]string{"9090": "127.0.0.1:9090", ":9090": "127.0.0.1:9090", "0.0.0.0:1": "0.0.0.0:1", "localhost:0": "localhost:0", "[::1]:80": "[::1]:80"} {
		got, err := Address(given)
		require.NoError(t, err, given)
		require.Equal(t, want, got)
	}
	for _, given := range []string{"", "here", "1.2.3.4", "70000", ":http", ":99999", "::1:80"} {
		_, err := Address(given)
		require.ErrorContains(t, err, "want PORT, HOST:PORT", given)
	}
	e := listen(t)
	require.Equal(t, "127.0.0.1", e.listener.Addr().(*net.TCPAddr).IP.String(), "of this machine only")
	_, err := Listen(e.listener.Addr().String())
	require.ErrorContains(t, err, "address already in use")
}
