package main

import (
	"fmt"
	"io"
	"strings"

	"brood/convert"
	"brood/kernels"
	"brood/train"

	"github.com/spf13/cobra"
)

func newConvert() *cobra.Command {
	var environment, activation string
	var set []string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "convert FILE OUT",
		Short: "Make a checkpoint of an agent that another program trained",
		Long: "Make the checkpoint OUT of an agent that another program trained: a model that Stable-Baselines3's PPO saved (.zip),\n" +
			"with the state of its optimizer, or the weights of an agent named as CleanRL's (.safetensors, or a file of torch.save).\n" +
			"Nothing in the file is run, and OUT is never overwritten.",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usage("%s takes two arguments, the file and the checkpoint to write; got %d", cmd.CommandPath(), len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			settings, err := train.ParseSettings(set)
			if err != nil {
				return err
			}
			report, err := convert.File(args[0], args[1], convert.Options{Env: environment, Activation: kernels.Activation(activation), Settings: settings})
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), report)
			}
			printConversion(cmd.OutOrStdout(), report)
			return nil
		},
	}
	cmd.Flags().StringVar(&environment, "env", "", "`ID` of the environment that the agent plays")
	cmd.Flags().StringVar(&activation, "activation", "", "`NAME` of the activation between hidden layers, tanh or relu, where the file does not say it")
	cmd.Flags().StringArrayVar(&set, "set", nil, "override a configuration key: `KEY=VALUE`, such as ppo.gamma=0.9 (repeatable)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// printConversion says what was taken from the file, what was not in it, and what
// could not be taken.
func printConversion(out io.Writer, r *convert.Report) {
	optimizer := "none in the file: it starts reset"
	if r.HasOptimizerState {
		optimizer = "Adam, " + plural(r.OptimizerSteps, "step")
	}
	hidden := strings.Trim(fmt.Sprint(r.Hidden), "[]")
	if hidden == "" {
		hidden = "none"
	}
	for _, line := range [][2]string{{"file", r.File + "  (" + r.Kind + ")"}, {"environment", r.Env},
		{"hidden layers", hidden + "  " + string(r.Activation)}, {"optimizer", optimizer},
		{"trained for", plural(r.EnvSteps, "env step") + ", " + plural(r.Updates, "update")}} {
		fmt.Fprintf(out, "%-14s %s\n", line[0], line[1])
	}
	printValues(out, "taken", r.Taken)
	printValues(out, "left at brood's default", r.Defaults)
	if len(r.Notes) > 0 {
		fmt.Fprintln(out, "\nnote")
	}
	for _, note := range r.Notes {
		fmt.Fprintln(out, "  "+note)
	}
	fmt.Fprintf(out, "\ncheckpoint     %s\nnext           brood eval %s\n", r.Checkpoint, r.Checkpoint)
}

func printValues(out io.Writer, title string, values []convert.Taken) {
	if len(values) == 0 {
		return
	}
	fmt.Fprintf(out, "\n%s\n", title)
	for _, v := range values {
		fmt.Fprintln(out, strings.TrimRight(fmt.Sprintf("  %-24s %-10v %s", v.Key, v.Value, v.From), " "))
	}
}
