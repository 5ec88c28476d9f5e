package main

import (
	"io"

	"brood/telemetry/report"

	"github.com/spf13/cobra"
)

func newReport() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "report DIR...",
		Short: "Write one HTML file that shows runs: charts, family, exploits, configuration",
		Long: "Write one HTML file that shows the runs in folders: returns, hyperparameters, losses, the family, what exploits came to, the\n" +
			"configuration. The file needs nothing else, and works offline. A run that goes on is shown as far as it is.",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("brood report takes one run folder or more")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return toFile(cmd, out, func(w io.Writer) error { return report.Write(w, args) })
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "`file` to write; stdout if not given")
	return cmd
}
