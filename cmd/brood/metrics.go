package main

import (
	"fmt"
	"math"
	"os"
	"sync/atomic"
	"time"

	"brood/telemetry/exporter"
	"brood/train"
)

// snapshotPause is how old the figures at --metrics may be; making them for every update
// of a small run would cost more than a percent of it.
const snapshotPause = 250 * time.Millisecond

// monitoring serves a run's figures at --metrics. nil: nobody asked for it.
type monitoring struct {
	exporter *exporter.Exporter
	dir      string
	info     map[string]string
	warnings atomic.Int64
	last     time.Time
}

// startMonitoring listens before the run is made: an address that is taken is no reason
// to leave a run folder behind.
func startMonitoring(address, dir string, quiet bool) (*monitoring, error) {
	if address == "" {
		return nil, nil
	}
	if _, err := exporter.Address(address); err != nil {
		return nil, usage("--metrics: %v", err)
	}
	e, err := exporter.Listen(address)
	if err != nil {
		return nil, fmt.Errorf("--metrics: %w", err)
	}
	if !quiet {
		fmt.Fprintln(os.Stderr, "metrics at "+e.URL())
	}
	return &monitoring{exporter: e, dir: dir}, nil
}

// start tells what runs.
func (m *monitoring) start(run *train.Run) {
	if m != nil {
		m.info = map[string]string{"run": m.dir, "env": run.Config().Env.ID, "device": run.EngineName()}
	}
}

func (m *monitoring) warned() {
	if m != nil {
		m.warnings.Add(1)
	}
}

// update publishes the figures after an update, where the last ones are old.
func (m *monitoring) update(p *train.Progress) {
	if m == nil || time.Since(m.last) < snapshotPause && p.Update < p.Updates {
		return
	}
	m.last = time.Now()
	c := p.Checkpoints()
	s := &exporter.Snapshot{Info: m.info, Updates: p.Update, PlannedUpdates: p.Updates, EnvSteps: p.EnvSteps, PlannedEnvSteps: p.TotalSteps, Exploits: p.Exploits,
		EnvStepsPerSecond: float64(p.StepsThisProcess) / math.Max(p.SecondsThisProcess, 1e-9), Population: p.Population(), HyperparameterNames: p.Evolved(),
		CheckpointUpdate: c.Update, CheckpointAt: c.At, CheckpointsWritten: c.Written, CheckpointFailures: c.Failed, Warnings: m.warnings.Load()}
	s.BestReturn, s.MedianReturn = train.BestAndMedian(p.Scores(nil), p.LowerIsBetter())
	for i := range min(s.Population, exporter.MaxMembers) {
		f := p.Member(i)
		s.Members = append(s.Members, exporter.Member{Return: f.Return, PolicyLoss: f.PolicyLoss, ValueLoss: f.ValueLoss, Entropy: f.Entropy, KL: f.KL,
			Quarantined: f.Quarantined, Hyperparameters: f.Hyperparameters})
	}
	m.exporter.Publish(s)
}

func (m *monitoring) close() {
	if m != nil {
		if err := m.exporter.Close(); err != nil {
			fmt.Fprintf(os.Stderr, "warning: --metrics: %v\n", err)
		}
	}
}
