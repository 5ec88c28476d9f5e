package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"brood/study/experiment"

	"github.com/spf13/cobra"
)

func newExperiment() *cobra.Command {
	var out string
	var jobs int
	cmd := &cobra.Command{
		Use:   "experiment FILE.yaml",
		Short: "Compare optimizer strategies over many exploits and runs, and write a report",
		Long: "Live every exploit of the runs of an experiment file once per arm, train whole runs per strategy, and write a\n" +
			"report with plots. An experiment that was interrupted goes on where it stopped.",
		Args: oneArgument("an experiment file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if jobs < 0 {
				return usage("--jobs %d: want at least 1, or 0 for all cores", jobs)
			}
			if jobs == 0 {
				jobs = runtime.GOMAXPROCS(0)
			}
			text, err := readYAML(args[0])
			if err != nil {
				return err
			}
			spec, err := experiment.Parse(args[0], text)
			if err != nil {
				return usage("%v", err)
			}
			if out == "" {
				out = filepath.Join("runs", spec.Name)
			}
			return runExperiment(cmd, spec, args[0], out, jobs)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "result `folder` (default runs/NAME, by the file's name:)")
	cmd.Flags().IntVar(&jobs, "jobs", 0, "`number` of jobs at a time, one thread each; 0: all cores")
	return cmd
}

func runExperiment(cmd *cobra.Command, spec *experiment.Spec, file, out string, jobs int) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := spec.Run(ctx, experiment.Options{Dir: out, Jobs: jobs, Progress: func(line string) { fmt.Fprintln(os.Stderr, line) }})
	switch {
	case errors.Is(err, context.Canceled):
		fmt.Fprintf(os.Stderr, "stopped; the finished jobs are in %s, and the same command goes on from there\n", out)
		return errInterrupted
	case errors.Is(err, experiment.ErrChanged):
		return usage("%v", err)
	case err != nil:
		return err
	}
	command := strings.Join([]string{"brood", "experiment", file, "--out", out}, " ")
	report, err := spec.Report(out, command)
	if err != nil {
		return err
	}
	fmt.Fprintln(cmd.OutOrStdout(), report)
	return nil
}
