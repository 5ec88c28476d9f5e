package pbt_test

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"brood/pbt"
)

// A learner of one's own: it minimises the bowl (w0^2 + 25 w1^2)/2 by gradient
// descent with momentum. The momentum is its optimizer's state.
type learner struct {
	Weights      [2]float64
	LearningRate float64
	Momentum     [2]float64
}

// checkpoint is what a learner leaves in the folder for others to copy. It has
// the optimizer's state: without it, the strategy copy would have nothing to copy.
type checkpoint struct {
	Weights   [2]float64  `json:"weights"`
	Optimizer *[2]float64 `json:"optimizer_state,omitempty"`
}

func (l *learner) loss() float64 {
	return (l.Weights[0]*l.Weights[0] + 25*l.Weights[1]*l.Weights[1]) / 2
}

func (l *learner) update() {
	for i, curvature := range []float64{1, 25} {
		l.Momentum[i] = 0.9*l.Momentum[i] + curvature*l.Weights[i]
		l.Weights[i] -= l.LearningRate * l.Momentum[i]
	}
}

func file(folder string, member int) string {
	return filepath.Join(folder, fmt.Sprintf("member-%03d.json", member))
}

func (l *learner) save(folder string, member int) error {
	momentum := l.Momentum
	data, err := json.Marshal(checkpoint{Weights: l.Weights, Optimizer: &momentum})
	if err != nil {
		return err
	}
	return os.WriteFile(file(folder, member), data, 0o644)
}

// exploit carries a decision out. The momentum the learner has was gathered on
// the weights it gives up: it must not survive them.
func (l *learner) exploit(folder string, d pbt.Decision) error {
	data, err := os.ReadFile(file(folder, d.Source))
	if err != nil {
		return err
	}
	var source checkpoint
	if err := json.Unmarshal(data, &source); err != nil {
		return err
	}
	l.Weights = source.Weights
	l.Momentum = [2]float64{} // reset, and copy from a checkpoint without optimizer state
	if d.Strategy == pbt.CopyOptimizer && source.Optimizer != nil {
		l.Momentum = *source.Optimizer
	}
	l.LearningRate = d.After["learning_rate"]
	return nil
}

// run trains a population and returns its best loss and, of the first exploit,
// the momentum of the member and the source just after it.
func run(strategy pbt.Strategy, folder string) (best float64, member, source [2]float64, err error) {
	config := pbt.DefaultConfig()
	config.PopulationSize = 6
	config.PerturbationInterval = 5
	config.MetricMode = pbt.Min // the score is a loss
	config.Hyperparameters = []pbt.Hyperparameter{pbt.LogRange("learning_rate", 1e-4, 5e-2)}
	config.OptimizerExploitStrategy = strategy

	scheduler, err := pbt.NewScheduler(config, 1)
	if err != nil {
		return 0, member, source, err
	}
	var learners []*learner
	for _, m := range scheduler.InitializePopulation() {
		learners = append(learners, &learner{Weights: [2]float64{1, 1}, LearningRate: m.Hyperparameters["learning_rate"]})
	}
	first := true
	for update := int64(1); update <= 200; update++ {
		for _, l := range learners {
			l.update()
		}
		if !config.Due(update) {
			continue
		}
		// All files are written before any decision is carried out: a member that
		// is copied and copies another gives what it was.
		for id, l := range learners {
			if err := l.save(folder, id); err != nil {
				return 0, member, source, err
			}
			if err := scheduler.UpdatePerformance(id, l.loss(), update); err != nil {
				return 0, member, source, err
			}
		}
		decisions, err := scheduler.ExploitAndExplore()
		if err != nil {
			return 0, member, source, err
		}
		for _, d := range decisions {
			if err := learners[d.Member].exploit(folder, d); err != nil {
				return 0, member, source, err
			}
			if first {
				member, source, first = learners[d.Member].Momentum, learners[d.Source].Momentum, false
			}
		}
	}
	best = learners[0].loss()
	for _, l := range learners {
		best = min(best, l.loss())
	}
	return best, member, source, nil
}

// A population with checkpoints in a folder, under both optimizer strategies.
func Example() {
	for _, strategy := range []pbt.Strategy{pbt.ResetOptimizer, pbt.CopyOptimizer} {
		folder, err := os.MkdirTemp("", "pbt-example")
		if err != nil {
			log.Fatal(err)
		}
		best, member, source, err := run(strategy, folder)
		os.RemoveAll(folder)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: momentum zero %t, the source's %t; solved %t\n",
			strategy, member == [2]float64{}, member == source, best < 1e-3)
	}
	// Output:
	// reset: momentum zero true, the source's false; solved true
	// copy: momentum zero false, the source's true; solved true
}
