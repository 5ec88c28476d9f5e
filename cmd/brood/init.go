package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"brood/internal/nearest"
	"brood/internal/starter"
	"brood/presets"
	"brood/train"

	"github.com/spf13/cobra"
)

func newInit() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "init [PRESET]",
		Short: "Write a configuration to edit, with what every key means",
		Long: "Write a preset (" + strings.Join(presets.Names(), ", ") + ") as a configuration with every key, and beside each what it does,\n" +
			"which values are valid and its default. It trains as it is. Without an argument: " + presets.Default + ". A file that is there is not overwritten.",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage("brood init takes one preset, got %d: %s", len(args), strings.Join(args, " "))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			name := presets.Default
			if len(args) == 1 {
				name = args[0]
			}
			if err := writeStarter(name, out); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s holds the preset %s with every key and what it means.\nnext  edit it, then: brood train %s\n", out, name, shellWord(out))
			return err
		},
	}
	cmd.Flags().StringVar(&out, "out", "brood.yaml", "`FILE` to write, which must not be there")
	return cmd
}

func nearPreset(name string) string { return nearest.Word(name, presets.Names()) }

// writeStarter writes the commented configuration of a preset into a new file.
func writeStarter(name, out string) error {
	text, err := findPreset(name)
	if err != nil {
		return err
	}
	cfg, err := train.Load("preset "+name, text, nil)
	if err != nil {
		return err
	}
	head := fmt.Sprintf("A configuration of brood, from the preset %s. Every key is here with its value.\n"+
		"Above each: what it does, its type and valid values, and its default, which counts where the line is deleted.\n"+
		"Train by it:  brood train %s\n"+
		"Change one key for one run:  brood train %[2]s --set run.seed=2", name, shellWord(out))
	commented, err := starter.YAML(cfg, head)
	if err != nil {
		return err
	}
	return writeNew(out, commented)
}

// writeNew writes a file that is not there yet. One that could not be written whole
// is removed again.
func writeNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return usage("%s is there already, and is not overwritten; choose another name with --out", path)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// shellWord quotes a path that a shell would take apart.
func shellWord(path string) string {
	if strings.ContainsAny(path, " \t\n'\"\\$`!*?[](){}<>|&;#~") {
		return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	}
	return path
}
