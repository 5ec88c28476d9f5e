// Command custom-env trains a population on an environment of its own.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	"brood/train"
)

//go:embed config.yaml
var config []byte

func main() {
	out := flag.String("out", "runs/custom-env", "run folder; must not exist yet, or be empty")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *out, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "custom-env:", err)
		os.Exit(1)
	}
}

// run trains into the folder dir and prints how every member ended.
func run(ctx context.Context, dir string, w io.Writer) (err error) {
	cfg, err := train.Load("config.yaml", config, nil)
	if err != nil {
		return err
	}
	r, err := train.New(cfg, train.Options{Dir: dir})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	summary, err := r.Train(ctx)
	if err != nil {
		return err
	}
	printSummary(w, summary)
	return nil
}

func printSummary(w io.Writer, s *train.Summary) {
	fmt.Fprintf(w, "%d members, %d steps of %s in %.1f s, %d exploits\n", s.Population, s.EnvSteps, s.Env, s.Seconds, s.Exploits)
	for _, m := range s.Members {
		if m.Selection != nil {
			fmt.Fprintf(w, "member %d: mean return %.2f, mean length %.1f, %v\n",
				m.Member, m.Selection.MeanReturn, m.Selection.MeanLength, m.Hyperparameters)
		}
	}
	if s.Best != nil {
		fmt.Fprintf(w, "best: member %d, in %s\n", s.Best.Member, s.Best.Checkpoint)
	}
	if s.Stopped != nil {
		fmt.Fprintf(w, "stopped: %s\n", *s.Stopped)
	}
}
