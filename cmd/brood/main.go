// Command brood trains populations of PPO agents and evolves them by population
// based training.
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"brood/ckpt"
	"brood/convert"
	"brood/dash"
	"brood/train"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

var (
	// errInterrupted ends a run that was stopped by a signal and is safe on disk.
	errInterrupted = errors.New("interrupted")
	// errUsage marks a mistake in the arguments.
	errUsage = errors.New("bad usage")
)

func main() {
	os.Exit(execute(os.Args[1:]))
}

// execute runs the command line and returns the exit code.
func execute(args []string) int {
	started := false // whether a subcommand's own code was reached
	root := newRoot()
	root.PersistentPreRun = func(*cobra.Command, []string) { started = true }
	root.SetArgs(args)
	err := root.ExecuteContext(context.Background())
	if err == nil {
		return exitDone
	}
	if errors.Is(err, errInterrupted) {
		return exitInterrupted
	}
	printError(err)
	if !started || isUsage(err) {
		return exitUsage
	}
	return exitFailed
}

// isUsage tells a mistake of the user's from a failure of the machine or damage
// on disk, which a missing file can be a part of.
func isUsage(err error) bool {
	if errors.Is(err, ckpt.ErrDamaged) {
		return false
	}
	for _, mistake := range []error{errUsage, train.ErrConfig, train.ErrRunExists, ckpt.ErrLocked, train.ErrNoCheckpoint, dash.ErrAddress, convert.ErrMismatch,
		convert.ErrExists, fs.ErrNotExist} {
		if errors.Is(err, mistake) {
			return true
		}
	}
	return false
}

func printError(err error) {
	for i, line := range strings.Split(strings.TrimSpace(err.Error()), "\n") {
		prefix := "brood: "
		if i > 0 {
			prefix = "       "
		}
		fmt.Fprintln(os.Stderr, prefix+line)
	}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "brood",
		Short: "Train a population of PPO agents and evolve it",
		Long: "brood trains a population of PPO agents as one batched program and evolves it by population based training.\n" +
			"`brood train` alone trains on CartPole in seconds.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage("%v; see `%s --help`", err, cmd.CommandPath())
	})
	root.AddCommand(newTrain(), newResume(), newEval(), newInspect(), newLineage(), newReplay(), newDoctor(), newPresets())
	root.AddCommand(newCounterfactual(), newExperiment(), newConvert(), newDashboard())
	return root
}

func usage(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errUsage, fmt.Sprintf(format, args...))
}

// oneArgument is cobra.ExactArgs(1) with a message that says what is missing.
func oneArgument(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usage("%s takes one argument, %s; got %d", cmd.CommandPath(), what, len(args))
		}
		return nil
	}
}
