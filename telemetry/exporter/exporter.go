// Package exporter serves the figures of a run in training to Prometheus and to
// whatever else reads its text format. It knows no runs: it is handed snapshots, and
// handing one over is a store of a pointer, so that no reader ever holds training up.
package exporter

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// MaxMembers bounds the members that have series of their own.
const MaxMembers = 256

// Snapshot is a run at a moment. It is not changed once it is published. NaN stands for
// a figure that does not exist; it has no sample.
type Snapshot struct {
	// Info are the labels of brood_info.
	Info                      map[string]string
	Updates, PlannedUpdates   int64
	EnvSteps, PlannedEnvSteps int64
	Exploits                  int64
	EnvStepsPerSecond         float64
	Population                int
	BestReturn, MedianReturn  float64
	// Members are the first MaxMembers.
	Members []Member
	// HyperparameterNames name Member.Hyperparameters.
	HyperparameterNames []string
	// CheckpointUpdate is that of the newest checkpoint, CheckpointAt when it was
	// complete; zero: there is none.
	CheckpointUpdate                       int64
	CheckpointAt                           time.Time
	CheckpointsWritten, CheckpointFailures int64
	Warnings                               int64
}

// Member is one member's figures.
type Member struct {
	Return, PolicyLoss, ValueLoss, Entropy, KL float64
	Quarantined                                bool
	Hyperparameters                            []float64
}

// Exporter serves the newest snapshot.
type Exporter struct {
	newest   atomic.Pointer[Snapshot]
	listener net.Listener
	server   *http.Server
	done     chan error
}

// Address completes what a user gave: a port alone, or one without a host, is of this
// machine only.
func Address(given string) (string, error) {
	if _, err := strconv.ParseUint(given, 10, 16); err == nil {
		given = ":" + given
	}
	host, port, err := net.SplitHostPort(given)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return "", fmt.Errorf("the address %q is not valid: want PORT, HOST:PORT, or 0.0.0.0:PORT for every interface, with a port from 0 to 65535", given)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}

// Listen begins to serve /metrics at an address as [Address] takes it. Close it.
func Listen(address string) (*Exporter, error) {
	address, err := Address(address)
	if err != nil {
		return nil, err
	}
	e := &Exporter{done: make(chan error, 1)}
	if e.listener, err = net.Listen("tcp", address); err != nil {
		return nil, fmt.Errorf("serve metrics: %w", err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewGoCollector(), &collector{of: e})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true, MaxRequestsInFlight: 8}))
	e.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute}
	go func() { e.done <- e.server.Serve(e.listener) }()
	return e, nil
}

// URL is where the metrics are.
func (e *Exporter) URL() string { return "http://" + e.listener.Addr().String() + "/metrics" }

// Publish makes a snapshot the one that is served.
func (e *Exporter) Publish(s *Snapshot) { e.newest.Store(s) }

// Close ends the serving; a request that is being answered gets a moment to end.
func (e *Exporter) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := e.server.Shutdown(ctx)
	if err != nil {
		err = e.server.Close()
	}
	if served := <-e.done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// collector turns the newest snapshot into samples when it is asked for them.
type collector struct{ of *Exporter }

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("brood_"+name, help, labels, nil)
}

// series is a figure of the run.
type series struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(s *Snapshot) float64
}

var ofRun = []series{
	{describe("updates_total", "Updates that every member has done."), prometheus.CounterValue, func(s *Snapshot) float64 { return float64(s.Updates) }},
	{describe("updates_planned", "Updates that the run is to do."), prometheus.GaugeValue, func(s *Snapshot) float64 { return float64(s.PlannedUpdates) }},
	{describe("env_steps_total", "Environment steps of the whole population."), prometheus.CounterValue, func(s *Snapshot) float64 { return float64(s.EnvSteps) }},
	{describe("env_steps_planned", "Environment steps that the run is to do."), prometheus.GaugeValue, func(s *Snapshot) float64 { return float64(s.PlannedEnvSteps) }},
	{describe("env_steps_per_second", "Environment steps a second since this process began to train."), prometheus.GaugeValue, func(s *Snapshot) float64 { return s.EnvStepsPerSecond }},
	{describe("exploits_total", "Members that copied another."), prometheus.CounterValue, func(s *Snapshot) float64 { return float64(s.Exploits) }},
	{describe("population_size", "Members."), prometheus.GaugeValue, func(s *Snapshot) float64 { return float64(s.Population) }},
	{describe("best_return", "The best train_return of the members."), prometheus.GaugeValue, func(s *Snapshot) float64 { return s.BestReturn }},
	{describe("median_return", "The median train_return of the members."), prometheus.GaugeValue, func(s *Snapshot) float64 { return s.MedianReturn }},
	{describe("checkpoint_age_seconds", "Time since the newest checkpoint was complete, or since the run went on from it."), prometheus.GaugeValue, func(s *Snapshot) float64 {
		if s.CheckpointAt.IsZero() {
			return math.NaN()
		}
		return time.Since(s.CheckpointAt).Seconds()
	}},
	{describe("checkpoint_update", "Updates done at the newest checkpoint."), prometheus.GaugeValue, func(s *Snapshot) float64 {
		if s.CheckpointAt.IsZero() {
			return math.NaN()
		}
		return float64(s.CheckpointUpdate)
	}},
	{describe("checkpoints_total", "Checkpoints that this process wrote."), prometheus.CounterValue, func(s *Snapshot) float64 { return float64(s.CheckpointsWritten) }},
	{describe("checkpoint_failures_total", "Checkpoints that this process could not write."), prometheus.CounterValue, func(s *Snapshot) float64 { return float64(s.CheckpointFailures) }},
	{describe("warnings_total", "Warnings that this process gave."), prometheus.CounterValue, func(s *Snapshot) float64 { return float64(s.Warnings) }},
}

// memberSeries is a figure of a member.
type memberSeries struct {
	desc  *prometheus.Desc
	value func(m *Member) float64
}

var ofMember = []memberSeries{
	{describe("member_return", "A member's train_return.", "member"), func(m *Member) float64 { return m.Return }},
	{describe("member_policy_loss", "A member's policy loss in its last update.", "member"), func(m *Member) float64 { return m.PolicyLoss }},
	{describe("member_value_loss", "A member's value loss in its last update.", "member"), func(m *Member) float64 { return m.ValueLoss }},
	{describe("member_entropy", "The entropy of a member's policy in nats.", "member"), func(m *Member) float64 { return m.Entropy }},
	{describe("member_approx_kl", "The KL divergence of a member's last update.", "member"), func(m *Member) float64 { return m.KL }},
	{describe("member_quarantined", "1 for a member whose weights are not finite.", "member"), func(m *Member) float64 {
		if m.Quarantined {
			return 1
		}
		return 0
	}},
}

var hyperparameterDesc = describe("member_hyperparameter", "A hyperparameter of a member that is evolved or scheduled.", "member", "name")

// Describe sends none: which samples there are depends on the run.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends the samples of the newest snapshot.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	s := c.of.newest.Load()
	if s == nil {
		return // no update is done yet
	}
	out <- prometheus.MustNewConstMetric(prometheus.NewDesc("brood_info", "What runs; always 1.", nil, s.Info), prometheus.GaugeValue, 1)
	send := func(desc *prometheus.Desc, kind prometheus.ValueType, x float64, labels ...string) {
		if !math.IsNaN(x) {
			out <- prometheus.MustNewConstMetric(desc, kind, x, labels...)
		}
	}
	for _, x := range ofRun {
		send(x.desc, x.kind, x.value(s))
	}
	for m := range s.Members {
		label := strconv.Itoa(m)
		for _, x := range ofMember {
			send(x.desc, prometheus.GaugeValue, x.value(&s.Members[m]), label)
		}
		for i, name := range s.HyperparameterNames {
			send(hyperparameterDesc, prometheus.GaugeValue, s.Members[m].Hyperparameters[i], label, name)
		}
	}
}
