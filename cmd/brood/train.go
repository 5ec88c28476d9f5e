package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"brood/dash"
	"brood/presets"
	"brood/train"

	"github.com/spf13/cobra"
)

// runFlags are what train and resume share.
type runFlags struct {
	set         []string
	device      string
	json, quiet bool
	diskWait    time.Duration
	metrics     string
	dashboard   string
}

func (f *runFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.set, "set", nil, "override a configuration key: `KEY=VALUE`, such as ppo.gamma=0.9 (repeatable)")
	cmd.Flags().StringVar(&f.device, "device", train.DeviceAuto, "auto, cpu, cuda, cuda:N or several such as cuda:0,1; stands for run.device")
	cmd.Flags().BoolVar(&f.json, "json", false, "print the summary as one JSON object")
	cmd.Flags().StringVar(&f.metrics, "metrics", "", "serve the run's figures to Prometheus at `ADDRESS`: PORT of this machine, or HOST:PORT")
	cmd.Flags().BoolVar(&f.quiet, "quiet", false, "show no progress")
	cmd.Flags().DurationVar(&f.diskWait, "disk-wait", time.Minute, "how `LONG` to wait at the end for a disk that refuses the last checkpoint")
}

// registerDashboard is for the commands whose run has a page.
func (f *runFlags) registerDashboard(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.dashboard, "dashboard", "", "serve a live page of the run: at `ADDRESS`, such as --dashboard=0.0.0.0:8642, or without one at "+dash.DefaultAddress)
	cmd.Flags().Lookup("dashboard").NoOptDefVal = anyAddress
}

// settings are what --set and --device say, in this order.
func (f *runFlags) settings(cmd *cobra.Command) ([]train.Setting, error) {
	settings, err := train.ParseSettings(f.set)
	if err != nil {
		return nil, err
	}
	if cmd.Flags().Changed("device") {
		settings = append(settings, train.Setting{Origin: "--device " + f.device, Key: "run.device", Value: f.device})
	}
	return settings, nil
}

func newTrain() *cobra.Command {
	var f runFlags
	var out string
	var seed uint64
	cmd := &cobra.Command{
		Use:   "train [PRESET|CONFIG.yaml]",
		Short: "Train a population",
		Long: "Train a population by a preset (" + strings.Join(presets.Names(), ", ") + ") or a configuration file.\n" +
			"Without an argument: " + presets.Default + ".",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage("brood train takes one preset or configuration, got %d: %s", len(args), strings.Join(args, " "))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			settings, err := f.settings(cmd)
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("seed") {
				settings = append(settings, train.Setting{Origin: fmt.Sprintf("--seed %d", seed), Key: "run.seed", Value: strconv.FormatUint(seed, 10)})
			}
			name, cfg, err := loadConfig(args, settings)
			if err != nil {
				return err
			}
			if out == "" {
				out = defaultFolder(name, cfg.Run.Seed, time.Now())
			}
			return runTraining(cmd, &f, out, func(o train.Options) (*train.Run, error) { return train.New(cfg, o) })
		},
	}
	f.register(cmd)
	f.registerDashboard(cmd)
	cmd.Flags().StringVar(&out, "out", "", "run `folder`, which must be new or empty (default runs/NAME-TIME-seedN)")
	cmd.Flags().Uint64Var(&seed, "seed", 1, "seed of everything that is drawn; stands for run.seed")
	return cmd
}

// loadConfig finds the configuration that the arguments mean, and a name for it.
func loadConfig(args []string, settings []train.Setting) (string, train.Config, error) {
	name := presets.Default
	if len(args) == 1 {
		name = args[0]
	}
	origin, text, err := readConfig(name)
	if err != nil {
		return "", train.Config{}, err
	}
	cfg, err := train.Load(origin, text, settings)
	return strings.TrimSuffix(filepath.Base(name), filepath.Ext(name)), cfg, err
}

// defaultFolder is a new folder for each run; two that start within one second
// get different ones.
func defaultFolder(name string, seed uint64, now time.Time) string {
	base := filepath.Join("runs", fmt.Sprintf("%s-%s-seed%d", name, now.Format("20060102-150405"), seed))
	folder := base
	for i := 2; train.CheckNewFolder(folder) != nil && i < 100; i++ {
		folder = fmt.Sprintf("%s-%d", base, i)
	}
	return folder
}

// runTraining makes a run, trains it until it is done or interrupted, and prints
// what came out.
func runTraining(cmd *cobra.Command, f *runFlags, dir string, start func(train.Options) (*train.Run, error)) error {
	if f.diskWait < 0 {
		return usage("--disk-wait %v: want 0s or longer", f.diskWait)
	}
	screen := newProgress(os.Stderr, f.quiet)
	defer screen.finish() // whatever ends the run: an error, or a panic
	ctx, stop := untilInterrupted(cmd.Context(), screen.interrupted)
	defer stop()
	page := newPage(f.dashboard)
	if err := page.check(); err != nil {
		return err
	}
	monitor, err := startMonitoring(f.metrics, dir, f.quiet)
	if err != nil {
		return err
	}
	defer monitor.close()
	run, err := start(train.Options{Dir: dir, Note: screen.note, DiskWait: f.diskWait,
		Warn:     func(message string) { monitor.warned(); screen.warn(message) },
		Progress: func(p *train.Progress) { monitor.update(p); screen.update(p); page.progress(p) }})
	if err != nil {
		return err
	}
	defer run.Close()
	ctx, err = page.open(ctx, dir, run)
	if err != nil {
		return err
	}
	defer page.close()
	screen.start(dir, run)
	monitor.start(run)
	summary, err := run.Train(ctx)
	screen.finish()
	if err != nil {
		return err
	}
	if f.json {
		err = printJSON(cmd.OutOrStdout(), summary)
	} else {
		printSummary(cmd.OutOrStdout(), summary)
	}
	if err != nil {
		return err
	}
	if summary.Stopped != nil {
		fmt.Fprintf(os.Stderr, "stopped at update %d; to go on: brood resume %s\n", summary.Updates, dir)
		return errInterrupted
	}
	return run.Close()
}
