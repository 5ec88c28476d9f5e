// Command peers runs the common workload (bench.CartPole) with brood and with
// other PPO programs, in turn, and prints a Markdown table of their speeds.
//
//	go run ./bench/peers [--out FILE] [--rounds N] [--python PYTHON]
//
// The programs are installed from PyPI into .venv-peers. One that cannot be
// installed or fails is a row of the table with the reason, and the exit status
// is 1.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// program is one line of the comparison.
type program struct {
	name       string
	population int
	// pip is the package to install; empty: none.
	pip string
	// command is a runner and its arguments.
	command []string
	results []result
	// err is why there is no figure; such a program is not run again.
	err error
}

// result is the line a runner prints: one timed training.
type result struct {
	Name              string  `json:"name"`
	Version           string  `json:"version"`
	EnvStepsPerSecond float64 `json:"env_steps_per_second"`
	EnvSteps          int64   `json:"env_steps"`
	Seconds           float64 `json:"seconds"`
	// CPUSeconds is the processor time of all threads.
	CPUSeconds float64 `json:"cpu_seconds"`
	// Threads the program may use.
	Threads int `json:"threads"`
}

// runLimit is the longest one runner may take, compilation included, before it
// counts as hung.
const runLimit = 15 * time.Minute

var errIncomplete = errors.New("not all programs could be measured; the table says why")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	m := describeMachine()
	out := flag.String("out", "", "`file` for the table (default bench/results/peers-<processor>.md)")
	rounds := flag.Int("rounds", 3, "how often each program runs; the median counts")
	python := flag.String("python", "python3", "Python 3.11 or newer, to make .venv-peers with")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}
	if *rounds < 1 {
		return fmt.Errorf("--rounds is %d: want at least 1", *rounds)
	}
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	if *out == "" {
		*out = filepath.Join(root, "bench", "results", "peers-"+slug(m.processor)+".md")
	}
	temporary, err := os.MkdirTemp("", "brood-peers-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temporary)
	brood := filepath.Join(temporary, "brood")
	if output, err := command(ctx, root, "go", "build", "-o", brood, "./bench/peers/brood").CombinedOutput(); err != nil {
		return fmt.Errorf("building bench/peers/brood: %w\n%s", err, output)
	}
	venv := environment{root: root, python: *python}
	programs := list(brood, venv.interpreter(), filepath.Join(root, "bench", "peers"))
	venv.install(ctx, programs)

	m.load = loadAverage()
	for round := range *rounds {
		for _, p := range programs {
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("interrupted in round %d: %w", round+1, err)
			}
			measure(ctx, root, p, round)
		}
	}
	m.commit = commit(ctx, root)
	table := markdown(m, *rounds, time.Now(), programs)
	fmt.Print(table)
	if err := os.MkdirAll(filepath.Dir(*out), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(*out, []byte(table), 0o644); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "wrote", *out)
	for _, p := range programs {
		if p.err != nil {
			return errIncomplete
		}
	}
	return nil
}

// list is the programs in the order in which they run. Each trains for a few
// seconds: the iterations follow from speeds measured on two cores.
func list(brood, python, folder string) []*program {
	script := func(name string, args ...int) []string {
		return append([]string{python, filepath.Join(folder, name)}, texts(args)...)
	}
	return []*program{
		{name: "brood", population: 1, command: append([]string{brood}, texts([]int{1, 600})...)},
		{name: "brood", population: 8, command: append([]string{brood}, texts([]int{8, 100})...)},
		{name: "stable-baselines3", population: 1, pip: "stable-baselines3", command: script("sb3_ppo.py", 30)},
		{name: "sbx", population: 1, pip: "sbx-rl", command: script("sbx_ppo.py", 30)},
		{name: "rejax", population: 1, pip: "rejax", command: script("rejax_ppo.py", 1, 100)},
		{name: "rejax", population: 8, pip: "rejax", command: script("rejax_ppo.py", 8, 15)},
	}
}

func texts(numbers []int) []string {
	list := make([]string, len(numbers))
	for i, n := range numbers {
		list[i] = strconv.Itoa(n)
	}
	return list
}

// measure runs a program once and keeps what it reports, or why it does not.
func measure(ctx context.Context, root string, p *program, round int) {
	if p.err != nil {
		return
	}
	limited, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	c := command(limited, root, p.command[0], p.command[1:]...)
	// No program may use a GPU here, were there one.
	c.Env = append(os.Environ(), "CUDA_VISIBLE_DEVICES=", "JAX_PLATFORMS=cpu")
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	var r result
	switch {
	case err != nil && limited.Err() != nil:
		err = fmt.Errorf("stopped: %w", limited.Err())
	case err != nil:
		err = fmt.Errorf("%w: %s", err, lastLine(stderr.String()))
	default:
		r, err = parse(stdout.String())
	}
	if err != nil {
		p.err = fmt.Errorf("round %d failed: %w", round+1, err)
		fmt.Fprintf(os.Stderr, "%s, population %d: %v\n%s", p.name, p.population, p.err, stderr.String())
		return
	}
	p.results = append(p.results, r)
	fmt.Fprintf(os.Stderr, "round %d: %s, population %d: %.0f env-steps/s\n", round+1, p.name, p.population, r.EnvStepsPerSecond)
}

// parse reads a runner's output, whose last line is the result: libraries may
// have printed before it.
func parse(stdout string) (result, error) {
	var r result
	line := lastLine(stdout)
	if err := json.Unmarshal([]byte(line), &r); err != nil {
		return r, fmt.Errorf("its last line is not a result: %q: %w", line, err)
	}
	if !(r.EnvStepsPerSecond > 0) || math.IsInf(r.EnvStepsPerSecond, 0) || r.EnvSteps <= 0 || !(r.Seconds > 0) || r.Version == "" {
		return r, fmt.Errorf("its result is not a measurement: %s", line)
	}
	return r, nil
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// command is exec.CommandContext in a folder, ended by SIGTERM where the context
// ends.
func command(ctx context.Context, folder, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, name, args...)
	c.Dir = folder
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	c.WaitDelay = 10 * time.Second
	return c
}

func moduleRoot(ctx context.Context) (string, error) {
	output, err := command(ctx, "", "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	file := strings.TrimSpace(string(output))
	if filepath.Base(file) != "go.mod" {
		return "", errors.New("run this inside brood's module: there is no go.mod here or above")
	}
	return filepath.Dir(file), nil
}
