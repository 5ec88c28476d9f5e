package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"brood/export"
	"brood/train"

	"github.com/spf13/cobra"
)

// exported is what `export --json` prints.
type exported struct {
	Checkpoint string `json:"checkpoint"`
	*export.Report
}

func newExport() *cobra.Command {
	var format string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "export CHECKPOINT|DIR OUT",
		Short: "Write a trained agent for use in other programs",
		Long: "Write the agent of a checkpoint, or of the best member of a run folder, to the file OUT, as other programs take it:\n" +
			"  onnx         a model from observations to deterministic actions and values, for ONNX Runtime\n" +
			"  safetensors  its tensors by PyTorch's names\n" +
			"  npz          the same for numpy.load\n" +
			"OUT is never overwritten.",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usage("%s takes two arguments, a checkpoint or a run folder and the file to write; got %d", cmd.CommandPath(), len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if format == "" {
				return usage("%s needs --format: one of %s", cmd.CommandPath(), formatNames())
			}
			stored, err := train.Find(args[0])
			if err != nil {
				return err
			}
			report, err := export.File(stored.Checkpoint, export.Format(format), args[1])
			if err != nil {
				return fmt.Errorf("%s: %w", stored.Path, err)
			}
			if !stored.Verified {
				fmt.Fprintln(os.Stderr, "warning: the checkpoint carries no checksums: damage to it would go unnoticed")
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), exported{stored.Path, report})
			}
			printExport(cmd.OutOrStdout(), stored.Path, report)
			return nil
		},
	}
	cmd.Flags().StringVar(&format, "format", "", "`FORMAT` of the file: "+formatNames())
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func formatNames() string { return strings.Join(formats(), ", ") }

func printExport(out io.Writer, checkpoint string, r *export.Report) {
	observations := "as they are"
	if r.NormalizesObservations {
		observations = "normalised by the statistics in the file"
	}
	for _, line := range [][2]string{{"checkpoint", checkpoint}, {"environment", r.Env}, {"update", fmt.Sprint(r.Step)},
		{"parameters", thousands(int64(r.Parameters))}, {"observations", observations}} {
		fmt.Fprintf(out, "%-14s %s\n", line[0], line[1])
	}
	for _, part := range []struct {
		title   string
		entries []export.Entry
	}{{"inputs", r.Inputs}, {"outputs", r.Outputs}, {"tensors", r.Tensors}} {
		if len(part.entries) == 0 {
			continue
		}
		fmt.Fprintf(out, "\n%s\n", part.title)
		for _, e := range part.entries {
			shape := strings.ReplaceAll(fmt.Sprint(e.Shape), "-1", "batch")
			if len(e.Shape) == 0 {
				shape = "scalar"
			}
			fmt.Fprintf(out, "  %-32s %-12s %s\n", e.Name, shape, e.Type)
		}
	}
	fmt.Fprintf(out, "\nwritten        %s  (%s, %s)\n", r.File, r.Format, plural(int64(r.Bytes), "byte"))
}
