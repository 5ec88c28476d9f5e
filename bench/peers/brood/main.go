//go:build unix

// Command brood trains the common workload with brood's engine for the processor
// and prints one line of JSON, as the runners of the other programs do.
//
//	brood POPULATION ITERATIONS
//
// Timed are the iterations asked for, in an engine that has done three before.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"brood/bench"
	"brood/kernels"
	"brood/kernels/cpu"
)

const warmup = 3

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "brood:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("want the arguments POPULATION ITERATIONS, got %q", args)
	}
	population, err := strconv.Atoi(args[0])
	if err != nil || population < 1 {
		return fmt.Errorf("POPULATION is %q: want a whole number above 0", args[0])
	}
	iterations, err := strconv.Atoi(args[1])
	if err != nil || iterations < 1 {
		return fmt.Errorf("ITERATIONS is %q: want a whole number above 0", args[1])
	}
	config := bench.CartPole(population)
	engine, err := cpu.New(config)
	if err != nil {
		return err
	}
	defer engine.Close()
	stats := make([]kernels.Stats, population)
	for range warmup {
		if err := engine.Iterate(stats); err != nil {
			return err
		}
	}
	start, cpuStart := time.Now(), processorTime()
	for range iterations {
		if err := engine.Iterate(stats); err != nil {
			return err
		}
	}
	seconds, cpuSeconds := time.Since(start).Seconds(), (processorTime() - cpuStart).Seconds()
	steps := population * iterations * config.Rows()
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"name": "brood", "version": engine.Name() + ", " + runtime.Version(),
		"env_steps_per_second": float64(steps) / seconds, "env_steps": steps,
		"seconds": seconds, "cpu_seconds": cpuSeconds, "threads": runtime.GOMAXPROCS(0),
	})
}

// processorTime is the time all threads of the process have run, in user and
// kernel mode.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // the arguments are right
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
