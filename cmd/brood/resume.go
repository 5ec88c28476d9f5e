package main

import (
	"brood/train"

	"github.com/spf13/cobra"
)

func newResume() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "resume DIR",
		Short: "Continue a run from its newest checkpoint, as if it had never stopped",
		Args:  oneArgument("the run folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			settings, err := f.settings(cmd)
			if err != nil {
				return err
			}
			return runTraining(cmd, &f, args[0], func(o train.Options) (*train.Run, error) {
				return train.Resume(args[0], settings, o)
			})
		},
	}
	f.register(cmd)
	return cmd
}
