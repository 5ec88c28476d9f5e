package main

import (
	"fmt"
	"os"

	"brood/train"

	"github.com/spf13/cobra"
)

// evaluation is what `eval --json` prints.
type evaluation struct {
	Checkpoint string `json:"checkpoint"`
	Env        string `json:"env"`
	Seed       uint64 `json:"seed"`
	train.Played
}

func newEval() *cobra.Command {
	var episodes int
	var seed uint64
	var device string
	var asJSON, imports bool
	cmd := &cobra.Command{
		Use:   "eval CHECKPOINT|DIR",
		Short: "Play episodes with a trained policy",
		Long: "Play episodes with the deterministic policy (the most probable or the mean action) of a checkpoint,\n" +
			"or of the best member of a run folder.",
		Args: oneArgument("a checkpoint or a run folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			stored, err := train.Find(args[0])
			if err != nil {
				return err
			}
			stored.AllowImports = imports
			played, warnings, err := stored.Evaluate(device, episodes, seed)
			if err != nil {
				return err
			}
			for _, w := range warnings {
				fmt.Fprintln(os.Stderr, "warning: "+w)
			}
			out := cmd.OutOrStdout()
			if asJSON {
				return printJSON(out, evaluation{Checkpoint: stored.Path, Env: stored.Env.ID, Seed: seed, Played: played})
			}
			fmt.Fprintf(out, "%s  %d episodes, seed %d  %s\n", stored.Env.ID, played.Episodes, seed, stored.Path)
			fmt.Fprintf(out, "mean return  %.1f ± %.1f  (%.1f to %.1f)\n", played.MeanReturn, played.StdReturn, played.MinReturn, played.MaxReturn)
			fmt.Fprintf(out, "mean length  %.1f\n", played.MeanLength)
			return nil
		},
	}
	cmd.Flags().IntVar(&episodes, "episodes", 100, "`number` of episodes")
	cmd.Flags().Uint64Var(&seed, "seed", 0, "seed of the episodes' starting states")
	cmd.Flags().StringVar(&device, "device", train.DeviceCPU, "auto, cpu, cuda or cuda:N")
	cmd.Flags().BoolVar(&imports, "allow-imports", false, "let the checkpoint of an environment of Gymnasium import the Python modules that it names")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}
