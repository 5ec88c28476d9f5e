package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"brood/train"

	"github.com/spf13/cobra"
)

func newReplay() *cobra.Command {
	var f runFlags
	var out string
	var member, seed, steps optionalNumber
	cmd := &cobra.Command{
		Use:   "replay DIR",
		Short: "Train one fresh agent on the hyperparameters that a member's ancestry went through",
		Long: "Train one fresh agent, alone, on the schedule of hyperparameters that the weights of a member of the run in a\n" +
			"folder were trained with. The schedule is in config.yaml of the new folder, which runs again as it is.",
		Args: oneArgument("the run folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !member.given {
				return usage("brood replay needs --member N, the member whose hyperparameters are replayed")
			}
			if steps.given && (steps.value < 1 || steps.value > 1<<62) {
				return usage("--steps %d: want 1 to %d", steps.value, int64(1)<<62)
			}
			settings, err := f.settings(cmd)
			if err != nil {
				return err
			}
			if seed.given {
				settings = append(settings, train.Setting{Origin: "--seed " + seed.String(), Key: "run.seed", Value: seed.String()})
			}
			cfg, number, err := replayConfig(args[0], &member, int64(steps.value), settings)
			if err != nil {
				return err
			}
			if out == "" {
				name := fmt.Sprintf("replay-%s-member%d", filepath.Base(filepath.Clean(args[0])), number)
				out = defaultFolder(name, cfg.Run.Seed, time.Now())
			}
			return runTraining(cmd, &f, out, func(o train.Options) (*train.Run, error) {
				run, err := train.New(cfg, o)
				if err == nil && !f.json {
					printSchedule(cmd.OutOrStdout(), args[0], number, &cfg)
				}
				return run, err
			})
		},
	}
	f.register(cmd)
	cmd.Flags().Var(&member, "member", "the member whose ancestry's hyperparameters are replayed")
	cmd.Flags().StringVar(&out, "out", "", "run `folder`, which must be new or empty (default runs/replay-NAME-memberN-TIME-seedN)")
	cmd.Flags().Var(&seed, "seed", "seed of the new run (default that of the run in DIR)")
	cmd.Flags().Var(&steps, "steps", "environment steps of the new run (default as many updates as the run in DIR)")
	return cmd
}

// replayConfig is the configuration of the new run, and the member that it follows.
func replayConfig(dir string, member *optionalNumber, steps int64, settings []train.Setting) (train.Config, int, error) {
	for _, s := range settings {
		for _, key := range []string{"run.schedule", "run.total_steps", "pbt.enabled", "pbt.population_size", "pbt.hyperparameters"} {
			// The key, one within it, or one around it.
			if strings.HasPrefix(s.Key+".", key+".") || strings.HasPrefix(key+".", s.Key+".") {
				return train.Config{}, 0, usage("%s: replay sets %s itself; the number of steps is --steps", s.Origin, key)
			}
		}
	}
	t, err := readFamily(dir)
	if err != nil {
		return train.Config{}, 0, err
	}
	number, err := member.member(t)
	if err != nil {
		return train.Config{}, 0, err
	}
	// The run's place for checkpoints is not this one's.
	own := train.Setting{Origin: "replay", Key: "checkpoint.url", Value: `""`}
	cfg, err := train.LoadRun(dir, append([]train.Setting{own}, settings...)...)
	if err != nil {
		return train.Config{}, 0, err
	}
	cfg, err = t.Replay(cfg, number, steps)
	return cfg, number, err
}

// printSchedule prints a row per update at which something changes.
func printSchedule(w io.Writer, dir string, member int, cfg *train.Config) {
	fmt.Fprintf(w, "the hyperparameters of member %d of %s, for one agent over %s\n", member, dir, plural(cfg.TotalUpdates(), "update"))
	rows := [][]string{{"update"}}
	for _, s := range cfg.Run.Schedule {
		if s.Update == 0 { // where all are set
			rows[0] = append(rows[0], s.Name)
		}
	}
	for _, s := range cfg.Run.Schedule {
		update := strconv.FormatInt(s.Update, 10)
		if rows[len(rows)-1][0] != update {
			row := []string{update}
			for range rows[0][1:] {
				row = append(row, "=")
			}
			rows = append(rows, row)
		}
		for i, name := range rows[0] {
			if name == s.Name {
				rows[len(rows)-1][i] = strconv.FormatFloat(s.Value, 'g', 6, 64)
			}
		}
	}
	printTable(w, rows)
	fmt.Fprintln(w)
}
