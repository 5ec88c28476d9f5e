package main

import (
	"fmt"
	"io"

	"brood/internal/doctor"

	"github.com/spf13/cobra"
)

func newDoctor() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this machine offers and whether training works on it",
		Long: "Say what this machine offers, what is missing and how to get it, and train a small population on every engine there is.\n" +
			"The exit code is 1 only where training cannot work.",
		Args: noArgument,
		RunE: func(cmd *cobra.Command, _ []string) error {
			report := doctor.Examine()
			if asJSON {
				if err := printJSON(cmd.OutOrStdout(), report); err != nil {
					return err
				}
			} else {
				printFindings(cmd.OutOrStdout(), report.Findings)
			}
			return report.Err()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// printFindings prints a line each.
func printFindings(out io.Writer, findings []doctor.Finding) {
	for _, f := range findings {
		line := fmt.Sprintf("%-9s %-8s %s", f.Name, f.State, f.Text)
		if f.Fix != "" {
			line += "  ->  " + f.Fix
		}
		fmt.Fprintln(out, line)
	}
}
