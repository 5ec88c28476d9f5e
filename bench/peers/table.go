package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"brood/bench"
)

// machine is what the figures were measured on.
type machine struct {
	processor string
	cores     int // the process may use
	system    string
	load      string // average over 1, 5 and 15 minutes before the first run; empty: unknown
	commit    string
}

func describeMachine() machine {
	return machine{processor: bench.Processor(), cores: runtime.NumCPU(), system: runtime.GOOS + "/" + runtime.GOARCH}
}

func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	fields := strings.Fields(string(text))
	if err != nil || len(fields) < 3 {
		return ""
	}
	return strings.Join(fields[:3], " ")
}

// commit names brood's source.
func commit(ctx context.Context, root string) string {
	output, err := command(ctx, root, "git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(output))
}

// slug is a name as part of a file name: "Intel(R) Xeon(R)" is "intel-xeon".
func slug(name string) string {
	name = strings.NewReplacer("(r)", " ", "(tm)", " ").Replace(strings.ToLower(name))
	words := strings.FieldsFunc(name, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') })
	return strings.Join(words, "-")
}

const heading = `# brood beside other PPO programs

The same workload with every program, one after the other in each round: CartPole-v1, 64 environments x 128 steps per
iteration, 4 epochs x 4 minibatches, separate actor and critic of 2x64 tanh units, scalar critic, learning rate 2.5e-4,
advantages normalised, observations and rewards not. On the processor alone, each program with as many threads as it
takes by itself.

`

const notes = `
Env-steps/s count the steps of all agents; the figure is the median of the rounds, with the least and the largest. A
ratio above 1 means that brood is faster. Cores used is processor time over wall time.

Timed is training in the steady state, collecting included, without start-up and compilation:

- brood: all of an iteration, after three others in the same process. Its variance gradient scaler is on, as by
  default, which is work the other programs do not have. No exploits.
- stable-baselines3: learn(), after two iterations of the same model. 64 environments in its DummyVecEnv. PyTorch's
  threads wait for each other busily: where another process wanted a core it was seen to fall to a tenth of its speed,
  which says nothing about it on a free machine.
- sbx: learn(), after three iterations of the same model, which compile. The environments are those of stable-baselines3.
- rejax: the second call of its compiled training, on other seeds, without its evaluations. A population is jax.vmap
  over the seeds; its agents share their hyperparameters. Its environments are gymnax's, compiled with the rest.
`

// markdown is the whole report.
func markdown(m machine, rounds int, when time.Time, programs []*program) string {
	var b strings.Builder
	b.WriteString(heading)
	fmt.Fprintf(&b, "- Processor: %s, %d cores (%s)\n", m.processor, m.cores, m.system)
	if m.load != "" {
		fmt.Fprintf(&b, "- Load average before the first run: %s\n", m.load)
	}
	fmt.Fprintf(&b, "- Date: %s; brood at %s; %d rounds\n- Command: `make bench-peers`\n\n", when.UTC().Format(time.DateOnly), m.commit, rounds)

	var brood []*program // the rows that others are compared with
	b.WriteString("| program | version | population | threads | env-steps/s |")
	rule := "\n|---|---|---:|---:|---:|"
	for _, p := range programs {
		if p.name == "brood" {
			brood = append(brood, p)
			fmt.Fprintf(&b, " brood (%d) / it |", p.population)
			rule += "---:|"
		}
	}
	b.WriteString(" cores used |" + rule + "---:|\n")
	for _, p := range programs {
		b.WriteString(row(p, brood))
	}
	b.WriteString(unsteady(programs))
	b.WriteString(notes)
	return b.String()
}

// steadySpread is the largest ratio of a program's fastest to its slowest round
// that passes for noise.
const steadySpread = 1.25

// unsteady names the rows not to be relied on; empty where there are none.
func unsteady(programs []*program) string {
	var rows []string
	for _, p := range programs {
		if p.err != nil {
			continue
		}
		if spread := slices.Max(p.speeds()) / slices.Min(p.speeds()); spread > steadySpread {
			rows = append(rows, fmt.Sprintf("%s (%d) by a factor of %.1f", p.name, p.population, spread))
		}
	}
	if len(rows) == 0 {
		return ""
	}
	return "\n**The machine was not quiet**, or the programs are unsteady: from round to round the speed differs for " +
		strings.Join(rows, ", ") + ". Do not rely on their figures and ratios.\n"
}

func row(p *program, brood []*program) string {
	if p.err != nil {
		return fmt.Sprintf("| %s | %s | %d | - | not measured |%s - |\n", p.name, cell(p.err.Error()), p.population, strings.Repeat(" - |", len(brood)))
	}
	speeds := p.speeds()
	cores := make([]float64, len(p.results))
	for i, r := range p.results {
		cores[i] = r.CPUSeconds / r.Seconds
	}
	var b strings.Builder
	fmt.Fprintf(&b, "| %s | %s | %d | %d | %s (%s to %s) |", p.name, cell(p.results[0].Version), p.population, p.results[0].Threads,
		thousands(median(speeds)), thousands(slices.Min(speeds)), thousands(slices.Max(speeds)))
	for _, o := range brood {
		if o.err != nil {
			b.WriteString(" - |")
			continue
		}
		fmt.Fprintf(&b, " %.2f |", median(o.speeds())/median(speeds))
	}
	fmt.Fprintf(&b, " %.1f |\n", median(cores))
	return b.String()
}

func (p *program) speeds() []float64 {
	speeds := make([]float64, len(p.results))
	for i, r := range p.results {
		speeds[i] = r.EnvStepsPerSecond
	}
	return speeds
}

// median of at least one number.
func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// thousands writes a number above 0 rounded to a whole, with commas.
func thousands(v float64) string {
	s := fmt.Sprint(int64(math.Round(v)))
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// cell makes text safe and short enough for a cell of a table.
func cell(s string) string {
	s = strings.Join(strings.Fields(strings.ReplaceAll(s, "|", "/")), " ")
	if r := []rune(s); len(r) > 200 {
		s = string(r[:200]) + " ..."
	}
	return s
}
