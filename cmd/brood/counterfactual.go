package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"brood/study"
	"brood/train"

	"github.com/spf13/cobra"
)

// counterfactualFlags are the flags of the command.
type counterfactualFlags struct {
	at       string
	member   int
	arms     string
	updates  int64
	episodes int
	device   string
	json     bool
}

func newCounterfactual() *cobra.Command {
	var f counterfactualFlags
	cmd := &cobra.Command{
		Use:   "counterfactual DIR",
		Short: "Live one exploit of a run several times, with another optimizer strategy each",
		Long: "Live one exploit of a run again, once per arm: all arms begin with the same weights and draw the same random\n" +
			"numbers, and differ in what the exploit did to the optimizer's state alone. Nothing in the folder changes.",
		Args: oneArgument("a run folder"),
		RunE: func(cmd *cobra.Command, args []string) error { return runCounterfactual(cmd, args[0], &f) },
	}
	cmd.Flags().StringVar(&f.at, "at", "first", "`UPDATE` of the exploit, or first")
	cmd.Flags().IntVar(&f.member, "member", study.FirstMember, "`member` that copied another; -1: the first of that update")
	cmd.Flags().StringVar(&f.arms, "arms", strings.Join(study.DefaultArms(), ","), "`strategies` to live, each also with +lr (optimizer_lr_scaling)")
	cmd.Flags().Int64Var(&f.updates, "updates", 20, "`number` of updates after the exploit")
	cmd.Flags().IntVar(&f.episodes, "episodes", 64, "`number` of episodes of each evaluation")
	cmd.Flags().StringVar(&f.device, "device", "", "auto, cpu, cuda or cuda:N (default the run's own)")
	cmd.Flags().BoolVar(&f.json, "json", false, "print one JSON object")
	return cmd
}

func runCounterfactual(cmd *cobra.Command, dir string, f *counterfactualFlags) error {
	update := int64(study.First)
	if f.at != "first" {
		var err error
		if update, err = strconv.ParseInt(f.at, 10, 64); err != nil || update < 1 {
			return usage("--at %s: want the number of updates done at the exploit, from 1, or first", f.at)
		}
	}
	if f.member < study.FirstMember {
		return usage("--member %d: want a member, from 0, or %d for the first", f.member, study.FirstMember)
	}
	arms, err := study.ParseArms(strings.Split(f.arms, ","))
	if err != nil {
		return usage("--arms: %v", err)
	}
	o := study.Options{Arms: arms, Updates: f.updates, Episodes: f.episodes}
	if err := o.Validate(); err != nil {
		return usage("--%v", err)
	}
	var opts train.Options
	if cmd.Flags().Changed("device") {
		opts.Settings = append(opts.Settings, train.Setting{Origin: "--device " + f.device, Key: "run.device", Value: f.device})
	}
	c, warnings, err := study.Find(cmd.Context(), dir, update, f.member, opts)
	for _, w := range warnings {
		fmt.Fprintln(os.Stderr, "warning: "+w)
	}
	if errors.Is(err, study.ErrNoExploit) {
		return usage("%v", err)
	}
	if err != nil {
		return err
	}
	lives, err := c.Live(cmd.Context(), o)
	if err != nil {
		return err
	}
	for _, w := range lives.Warnings {
		fmt.Fprintln(os.Stderr, "warning: "+w)
	}
	result := lives.Summary(warnings)
	if f.json {
		return printJSON(cmd.OutOrStdout(), result)
	}
	printCounterfactual(cmd.OutOrStdout(), result, f.episodes)
	return nil
}

// printCounterfactual prints the arms' returns less the source's, and the
// differences between the first arm and the others.
func printCounterfactual(w io.Writer, c *study.Counterfactual, episodes int) {
	fmt.Fprintf(w, "update %d: member %d copied member %d, whose mean return was %s over %s\n\n", c.Update, c.Member, c.Source,
		score(c.SourceReturn), plural(int64(episodes), "episode"))
	header := []string{"updates after"}
	for _, r := range c.Arms[0].Returns {
		header = append(header, strconv.FormatInt(r.After, 10))
	}
	returns := [][]string{append(header, "cos(m, g)", "first step")}
	for _, a := range c.Arms {
		row := []string{a.Name}
		if a.Strategy != "" {
			row[0] += " (" + a.Strategy + ")"
		}
		for _, r := range a.Returns {
			row = append(row, signed(r.Mean, c.SourceReturn))
		}
		returns = append(returns, append(row, significant(a.MomentumGradientCosine), significant(a.FirstStepNorm)))
	}
	fmt.Fprintln(w, "mean return less the source's")
	printTable(w, returns)
	if len(c.Arms) < 2 {
		return
	}
	first := c.Arms[0].Name
	differences := [][]string{header}
	for _, a := range c.Arms[1:] {
		row := []string{a.Name}
		for _, d := range c.Differences {
			if d.A == first && d.B == a.Name {
				row = append(row, interval(d))
			}
		}
		differences = append(differences, row)
	}
	fmt.Fprintf(w, "\nmean return less that of %s in the same episodes, with 95%% intervals\n", first)
	printTable(w, differences)
}

// signed writes x - from with its sign.
func signed(x, from *float64) string {
	if x == nil || from == nil {
		return "-"
	}
	return fmt.Sprintf("%+.1f", *x-*from)
}

func significant(x *float64) string {
	if x == nil {
		return "-"
	}
	return strconv.FormatFloat(*x, 'g', 3, 64)
}

// interval writes the difference of the second arm to the first.
func interval(d study.Difference) string {
	if d.Mean == nil {
		return "-"
	}
	minus := func(x float64) float64 { return 0 - x } // and not -0
	return fmt.Sprintf("%+.1f [%+.1f, %+.1f]", minus(*d.Mean), minus(*d.High), minus(*d.Low))
}
