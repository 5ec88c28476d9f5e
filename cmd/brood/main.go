// Command brood trains populations of PPO agents and evolves them by population
// based training.
package main

import (
	"context"
	"errors"
	"os"

	"brood/internal/version"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

// errInterrupted ends a run that was stopped by a signal and is safe on disk.
var errInterrupted = errors.New("interrupted")

func main() {
	os.Exit(execute(os.Args[1:]))
}

// execute runs the command line and returns the exit code.
func execute(args []string) int {
	started := false // whether a subcommand's own code was reached
	root := newRoot()
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkEmpty(cmd); err != nil {
			return err
		}
		started = true
		return nil
	}
	root.SetArgs(args)
	out := &output{to: os.Stdout}
	root.SetOut(out)
	err := root.ExecuteContext(context.Background())
	if err == nil && out.err != nil {
		printError(out.err)
		return exitFailed
	}
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

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "brood",
		Short: "Train a population of PPO agents and evolve it",
		Long: "brood trains a population of PPO agents as one batched program and evolves it by population based training.\n" +
			"`brood train` alone trains on CartPole in seconds.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          unknownCommand,
		Version:       version.String(),
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate("brood {{.Version}}\n")
	root.SetFlagErrorFunc(flagMistake)
	root.SetHelpCommand(newHelp())
	root.AddCommand(newTrain(), newResume(), newEval(), newInspect(), newLineage(), newReplay(), newDoctor(), newPresets())
	root.AddCommand(newCounterfactual(), newExperiment(), newConvert(), newExport(), newDashboard(), newInit(), newCompletion(), newVersion())
	root.AddCommand(newCSV(), newReport())
	completeArguments(root)
	return root
}
