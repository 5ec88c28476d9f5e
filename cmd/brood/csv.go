package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"brood/telemetry/table"

	"github.com/spf13/cobra"
)

func newCSV() *cobra.Command {
	var out, of string
	cmd := &cobra.Command{
		Use:   "csv DIR",
		Short: "Write the metrics or the exploits of a run as CSV",
		Long: "Write the metrics of the run in a folder as CSV, or its exploits with --table decisions; also while the run goes on.\n" +
			"One header, a row per member and update (or per exploit); a figure that does not exist is an empty cell.",
		Args: oneArgument("the run folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			write, ok := map[string]func(io.Writer, string) (bool, error){"metrics": table.WriteMetrics, "decisions": table.WriteDecisions}[of]
			if !ok {
				return usage("--table %s: must be metrics or decisions", of)
			}
			return toFile(cmd, out, func(w io.Writer) error {
				cut, err := write(w, args[0])
				if cut {
					fmt.Fprintln(os.Stderr, "warning: the last line of the log is not whole and is left out: the run goes on, or was killed")
				}
				return err
			})
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "`file` to write; stdout if not given")
	cmd.Flags().StringVar(&of, "table", "metrics", "metrics or decisions: which `table`")
	return cmd
}

// toFile writes to a file, or to stdout where none is named. A file that is there is
// replaced once the new one is complete.
func toFile(cmd *cobra.Command, path string, write func(io.Writer) error) (err error) {
	if path == "" {
		return write(cmd.OutOrStdout())
	}
	f, err := os.OpenFile(path+".part", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	err = errors.Join(write(f), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
