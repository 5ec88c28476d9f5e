package main

import (
	"fmt"

	"brood/presets"

	"github.com/spf13/cobra"
)

func newPresets() *cobra.Command {
	return &cobra.Command{
		Use:   "presets",
		Short: "List the presets that train takes",
		Args:  noArgument,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := cmd.OutOrStdout()
			fmt.Fprintf(out, "%-24s %-26s %9s  %s\n", "preset", "environment", "published", "task")
			for _, p := range presets.All() {
				fmt.Fprintf(out, "%-24s %-26s %9.1f  %s\n", p.Name, p.Environment, p.Published, p.Description)
			}
			fmt.Fprintln(out, "\npublished: the mean return of tuned PPO in rl-baselines3-zoo's benchmark.\nbrood train PRESET runs one; brood train alone runs "+presets.Default+".")
			return nil
		},
	}
}
