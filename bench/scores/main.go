// Command scores trains every preset with several seeds through the built
// command, evaluates all members of each run, and writes a Markdown table: what
// bench/results/presets.md is made by. A seed that fails is a row like any other.
//
//	make build && go run ./bench/scores --seeds 5 --out bench/results/presets.md
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"brood/bench"
	"brood/train"
)

// target is the score of tuned PPO in rl-baselines3-zoo's benchmark.md.
var targets = []struct {
	preset string
	score  float64
}{
	{"cartpole", 500}, {"acrobot", -73.5}, {"mountaincar", -110.4}, {"mountaincar-continuous", 88.3}, {"pendulum", -172.2},
}

// result is one run of one preset and seed.
type result struct {
	train.Summary
	best   float64   // of the best member, 100 episodes of brood eval
	others []float64 // the members' mean returns in the selection's episodes
	err    error
}

func main() {
	brood := flag.String("brood", "bin/brood", "the built command")
	seeds := flag.Int("seeds", 5, "seeds 1 to N of every preset")
	only := flag.String("only", "", "only this preset")
	out := flag.String("out", "", "write the table to this file, too")
	flag.Parse()
	if err := run(*brood, *seeds, *only, *out); err != nil {
		fmt.Fprintln(os.Stderr, "scores:", err)
		os.Exit(1)
	}
}

func run(brood string, seeds int, only, out string) error {
	dir, err := os.MkdirTemp("", "brood-scores-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var table strings.Builder
	fmt.Fprintf(&table, "| preset | published | seed | best member | median member | env steps | seconds | reached |\n|---|---|---|---|---|---|---|---|\n")
	for _, t := range targets {
		if only != "" && only != t.preset {
			continue
		}
		for seed := 1; seed <= seeds; seed++ {
			r := one(brood, t.preset, seed, filepath.Join(dir, fmt.Sprintf("%s-%d", t.preset, seed)))
			row := r.row(t.preset, t.score, seed)
			fmt.Fprintln(os.Stderr, row)
			table.WriteString(row + "\n")
		}
	}
	page := fmt.Sprintf(header, "make build && go run ./bench/scores --seeds "+strconv.Itoa(seeds), bench.Processor(), runtime.NumCPU(),
		time.Now().Format(time.DateOnly), table.String())
	fmt.Print(page)
	if out == "" {
		return nil
	}
	return os.WriteFile(out, []byte(page), 0o644)
}

const header = `# What the presets reach

Each preset trained with several seeds. "Best member" is the mean return over 100 episodes of ` + "`brood eval`" + ` (deterministic policy, seed 0) of
the member the run itself named best, by other episodes. "Median member" is over all members of the run, in the episodes the best was chosen by.
"Published" is tuned PPO's score in rl-baselines3-zoo's benchmark.md; "reached" compares the best member with it. "Seconds" is the training alone.

Made by: ` + "`%s`" + `, on %s, %d threads, %s.

%s`

// one trains and evaluates one run.
func one(brood, preset string, seed int, dir string) (r result) {
	if r.err = call(&r.Summary, brood, "train", preset, "--seed", strconv.Itoa(seed), "--out", dir, "--quiet", "--json"); r.err != nil {
		return r
	}
	var played train.Played
	if r.err = call(&played, brood, "eval", dir, "--json"); r.err != nil {
		return r
	}
	r.best = played.MeanReturn
	for _, m := range r.Members {
		if m.Selection != nil {
			r.others = append(r.others, m.Selection.MeanReturn)
		}
	}
	if len(r.others) == 0 {
		r.err = errors.New("no member was evaluated")
	}
	return r
}

func (r *result) row(preset string, target float64, seed int) string {
	if r.err != nil {
		return fmt.Sprintf("| %s | %.1f | %d | failed: %v | | | | no |", preset, target, seed, r.err)
	}
	slices.Sort(r.others)
	n := len(r.others)
	median := (r.others[(n-1)/2] + r.others[n/2]) / 2
	reached := "no"
	if r.best >= target {
		reached = "yes"
	}
	return fmt.Sprintf("| %s | %.1f | %d | %.1f | %.1f | %.1f M | %.0f | %s |", preset, target, seed, r.best, median,
		float64(r.EnvSteps)/1e6, r.Seconds, reached)
}

// call runs the command and decodes the JSON object it prints.
func call(into any, name string, args ...string) error {
	c := exec.Command(name, args...)
	c.Stderr = os.Stderr
	pipe, err := c.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	data, readErr := io.ReadAll(pipe)
	if err := c.Wait(); err != nil {
		return fmt.Errorf("%s %s: %w", name, args[0], err)
	}
	if readErr != nil {
		return readErr
	}
	return json.Unmarshal(data, into)
}
