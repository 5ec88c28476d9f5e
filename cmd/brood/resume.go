package main

import (
	"strconv"

	"brood/store"
	"brood/train"

	"github.com/spf13/cobra"
)

func newResume() *cobra.Command {
	var f runFlags
	var out string
	cmd := &cobra.Command{
		Use:   "resume DIR|URL",
		Short: "Continue a run from its newest checkpoint, as if it had never stopped",
		Long: "Continue a run from its newest sound checkpoint, as if it had never stopped.\n" +
			"With --out, the run is fetched into a new run folder first: from the checkpoint.url of a run on another machine.",
		Args: oneArgument("the run folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			settings, err := f.settings(cmd)
			if err != nil {
				return err
			}
			if out == "" && store.IsURL(args[0]) {
				return usage("a run is resumed from %s into a folder of this machine: --out DIR", args[0])
			}
			if out == "" {
				return runTraining(cmd, &f, args[0], func(o train.Options) (*train.Run, error) {
					return train.Resume(args[0], settings, o)
				})
			}
			return runTraining(cmd, &f, out, func(o train.Options) (*train.Run, error) {
				if err := train.Fetch(cmd.Context(), args[0], out, o.Warn); err != nil {
					return nil, err
				}
				// It goes on where it came from, whatever that machine called it.
				from := train.Setting{Origin: args[0], Key: "checkpoint.url", Value: strconv.Quote(args[0])}
				return train.Resume(out, append([]train.Setting{from}, settings...), o)
			})
		},
	}
	f.register(cmd)
	f.registerDashboard(cmd)
	cmd.Flags().StringVar(&out, "out", "", "new run `folder` to fetch the run into")
	return cmd
}
