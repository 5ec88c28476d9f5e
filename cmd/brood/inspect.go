package main

import (
	"fmt"
	"io"
	"math"
	"strings"

	"brood/ckpt"
	"brood/train"

	"github.com/spf13/cobra"
)

// inspection is what `inspect --json` prints.
type inspection struct {
	Checkpoint        string                      `json:"checkpoint"`
	FormatVersion     string                      `json:"format_version"`
	Step              int64                       `json:"step"`
	Performance       *float64                    `json:"performance"`
	HasOptimizerState bool                        `json:"has_optimizer_state"`
	Verified          bool                        `json:"verified"`
	Env               ckpt.EnvInfo                `json:"env"`
	Sections          map[string]inspectedSection `json:"sections"`
}

type inspectedSection struct {
	Tensors map[string][]int `json:"tensors"`
}

func newInspect() *cobra.Command {
	var asJSON, digest, verify bool
	cmd := &cobra.Command{
		Use:   "inspect CHECKPOINT|DIR",
		Short: "Say what a checkpoint holds",
		Long: "Say what a checkpoint, or that of the best member of a run folder, holds; its checksums are verified.\n" +
			"With --verify: read every file of every checkpoint, and say of each whether it is sound.",
		Args: oneArgument("a checkpoint or a run folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			out := cmd.OutOrStdout()
			if digest && (asJSON || verify) {
				return usage("--digest prints the digest alone; it goes with no other flag")
			}
			if verify {
				return runVerify(out, args[0], asJSON)
			}
			if digest {
				sum, err := train.Digest(args[0])
				if err == nil {
					fmt.Fprintf(out, "%x\n", sum)
				}
				return err
			}
			stored, err := train.Find(args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(out, inspect(stored))
			}
			printInspection(out, stored)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	cmd.Flags().BoolVar(&verify, "verify", false, "list every checkpoint and whether it is sound; exit code 1 if any is damaged")
	cmd.Flags().BoolVar(&digest, "digest", false, "print the SHA-256 over all members' sections and nothing else")
	return cmd
}

func inspect(s *train.Stored) inspection {
	i := inspection{Checkpoint: s.Path, FormatVersion: s.FormatVersion, Step: s.Step, HasOptimizerState: s.HasOptimizerState,
		Verified: s.Verified, Env: s.Env, Sections: map[string]inspectedSection{}}
	if !math.IsNaN(s.Performance) && !math.IsInf(s.Performance, 0) {
		i.Performance = &s.Performance
	}
	for _, section := range s.Sections() {
		tensors := map[string][]int{}
		for _, t := range section.Tensors {
			tensors[t.Name] = append([]int{}, t.Shape...) // a scalar is [], not null
		}
		i.Sections[section.Name] = inspectedSection{tensors}
	}
	return i
}

func printInspection(out io.Writer, s *train.Stored) {
	performance := "none yet"
	if !math.IsNaN(s.Performance) {
		performance = fmt.Sprintf("%.1f", s.Performance)
	}
	checksums := "verified"
	if !s.Verified {
		checksums = "none in the file"
	}
	optimizer := "yes"
	if !s.HasOptimizerState {
		optimizer = "no: whoever loads it starts with a reset optimizer"
	}
	environment, actions := s.Env.ID, describeActions(s.Env.Action)
	if environment == "" {
		environment, actions = "not in the file", "not in the file"
	}
	for _, line := range [][2]string{{"checkpoint", s.Path}, {"format", s.FormatVersion}, {"environment", environment}, {"actions", actions},
		{"update", fmt.Sprint(s.Step)}, {"performance", performance}, {"optimizer state", optimizer}, {"checksums", checksums}} {
		fmt.Fprintf(out, "%-16s %s\n", line[0], line[1])
	}
	for _, section := range s.Sections() {
		fmt.Fprintf(out, "\n%s\n", section.Name)
		for _, t := range section.Tensors {
			shape := "scalar"
			if len(t.Shape) > 0 {
				shape = fmt.Sprint(t.Shape)
			}
			fmt.Fprintf(out, "  %-32s %-12s %s\n", t.Name, shape, t.DType)
		}
	}
}

// describeActions says what an agent does in every step.
func describeActions(a ckpt.ActionInfo) string {
	switch a.Type {
	case ckpt.Discrete:
		return fmt.Sprintf("one of %d choices", a.N)
	case ckpt.MultiDiscrete:
		return fmt.Sprintf("%s at once: of %s", plural(int64(len(a.NVec)), "choice"), strings.Join(strings.Fields(strings.Trim(fmt.Sprint(a.NVec), "[]")), ", "))
	case ckpt.Continuous:
		return plural(int64(a.N), "number")
	}
	return fmt.Sprintf("%q, which is no type of actions", a.Type)
}
