//go:build linux

package dash

import (
	"context"
	"flag"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

var loadRun = flag.String("load", "", "run folder to measure the loading of the page with")

// processorTime is what this process has used so far: it does not depend on what else
// the machine does.
func processorTime(t testing.TB) time.Duration {
	t.Helper()
	var r unix.Rusage
	require.NoError(t, unix.Getrusage(unix.RUSAGE_SELF, &r))
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// busy is the processor time of the page's main thread, in seconds.
func (p *tab) busy() float64 {
	p.t.Helper()
	p.do(protocol(performance.Enable, performance.EnableParams{TimeDomain: performance.EnableTimeDomainThreadTicks}))
	answer, err := chromedp.Run(p, func(ctx context.Context, target *chromedp.Target) ([]*performance.Metric, error) {
		r, err := cdp.Call(ctx, target, performance.GetMetrics, cdp.Empty{})
		return r.Metrics, err
	})
	require.NoError(p.t, err)
	for _, m := range answer {
		if m.Name == "TaskDuration" {
			return m.Value
		}
	}
	p.t.Fatal("the browser does not say how long its tasks took")
	return 0
}

// How long a page of a large run takes, from the request to the last chart drawn: only
// with -load. docs/dashboard.md says what was measured.
func TestLoad(t *testing.T) {
	if *loadRun == "" {
		t.Skip("only with -load FOLDER")
	}
	began, used := time.Now(), processorTime(t)
	s := serve(t, Options{Dirs: []string{*loadRun}, Interval: time.Hour})
	<-s.looked
	t.Logf("read the folder: %v, %v of processor time", time.Since(began), processorTime(t)-used)
	r := getJSON[[]about](t, s.base()+"/api/runs")[0]
	t.Logf("%d members, %d updates, %d exploits", r.Population, r.Update, r.Exploits)
	for name, path := range map[string]string{
		"returns":     "/api/runs/0/history?metrics=train_return&buckets=400",
		"all figures": "/api/runs/0/history?buckets=400&metrics=train_return,policy_loss,value_loss,entropy,approx_kl,clip_fraction,explained_variance,grad_norm,vgs_scale,learning_rate",
		"family":      "/api/runs/0/family",
	} {
		began, used := time.Now(), processorTime(t)
		answer, body := ask(t, "GET", s.base()+path)
		require.Equal(t, http.StatusOK, answer.StatusCode)
		t.Logf("%s: %v, %v of processor time, %d kB", name, time.Since(began), processorTime(t)-used, len(body)>>10)
	}
	p := openTab(t, 1440, 1500)
	var times []float64
	for range 12 {
		p.open(s.URL())
		times = append(times, value[float64](p, `brood.drawn`))
	}
	busy := p.busy()
	p.open(s.URL())
	t.Logf("the page's own thread is busy for %.0f ms of it", 1000*(p.busy()-busy))
	slices.Sort(times)
	t.Logf("page, from its start to its first complete drawing, in ms: least %.0f, median %.0f; all %.0f", times[0], times[len(times)/2], times)
	t.Logf("of the last: %s", value[string](p, `JSON.stringify(performance.getEntriesByType("measure").map((m) => [m.name, Math.round(m.startTime), Math.round(m.duration)]))`))
}

// What it costs to read a large file for the first time.
func BenchmarkIndex(b *testing.B) {
	if *loadRun == "" {
		b.Skip("only with -load FOLDER")
	}
	for b.Loop() {
		x := newIndex(*loadRun+"/metrics.jsonl", 64, false)
		_, err := x.refresh()
		require.NoError(b, err)
	}
}
