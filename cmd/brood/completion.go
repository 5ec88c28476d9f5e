package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"brood/docs"
	"brood/env"
	"brood/export"
	"brood/presets"
	"brood/study"
	"brood/train"

	"github.com/spf13/cobra"
)

var shells = []string{"bash", "zsh", "fish", "powershell"}

func newCompletion() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "Print a script that completes brood's arguments in a shell",
		Long: "Print a script that makes a shell complete commands, presets, run folders, flags and configuration keys.\n\n" +
			"bash        source <(brood completion bash)                     in ~/.bashrc; needs the package bash-completion\n" +
			"zsh         source <(brood completion zsh)                      in ~/.zshrc, after compinit\n" +
			"fish        brood completion fish > ~/.config/fish/completions/brood.fish\n" +
			"powershell  brood completion powershell | Out-String | Invoke-Expression   in the profile",
		ValidArgs: shells,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || !slices.Contains(shells, args[0]) {
				return usage("brood completion takes one argument, the shell: %s; got %q", strings.Join(shells, ", "), strings.Join(args, " "))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			out := cmd.OutOrStdout()
			switch args[0] {
			case "bash":
				return cmd.Root().GenBashCompletionV2(out, true)
			case "zsh":
				return cmd.Root().GenZshCompletion(out)
			case "fish":
				return cmd.Root().GenFishCompletion(out, true)
			}
			return cmd.Root().GenPowerShellCompletionWithDesc(out)
		},
	}
}

// completeArguments gives every command what the shell offers for its argument and
// its flags.
func completeArguments(root *cobra.Command) {
	runs := func(entry string) bool { return isRun(entry) }
	checkpoints := func(entry string) bool { return isRun(entry) || strings.HasSuffix(entry, ".ckpt") }
	convertible := func(entry string) bool {
		return slices.Contains([]string{".zip", ".safetensors", ".pt", ".pth"}, filepath.Ext(entry))
	}
	yamls := func(entry string) bool { return strings.HasSuffix(entry, ".yaml") || strings.HasSuffix(entry, ".yml") }
	arguments := map[string]func(toComplete string) []string{
		"train":      func(s string) []string { return append(presetsWithText(s), paths(s, yamls)...) },
		"init":       presetsWithText,
		"experiment": func(s string) []string { return paths(s, yamls) },
		"eval":       func(s string) []string { return paths(s, checkpoints) },
		"inspect":    func(s string) []string { return paths(s, checkpoints) },
		"export":     func(s string) []string { return paths(s, checkpoints) },
		"convert":    func(s string) []string { return paths(s, convertible) },
	}
	for _, name := range []string{"resume", "lineage", "replay", "counterfactual", "csv", "report", "dashboard"} {
		arguments[name] = func(s string) []string { return paths(s, runs) }
	}
	several := []string{"report", "dashboard"}
	files := []string{"export", "convert"} // whose second argument is a file to write
	flags := map[string]func(toComplete string) []string{
		"set":        settings,
		"device":     func(string) []string { return devices() },
		"arms":       arms,
		"env":        func(string) []string { return env.IDs() },
		"activation": func(string) []string { return []string{"tanh", "relu"} },
		"format":     func(string) []string { return formats() },
		"table":      func(string) []string { return []string{"metrics", "decisions"} },
	}
	for _, cmd := range root.Commands() {
		if complete, ok := arguments[cmd.Name()]; ok {
			cmd.ValidArgsFunction = func(_ *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
				switch {
				case len(args) == 1 && slices.Contains(files, cmd.Name()):
					return nil, cobra.ShellCompDirectiveDefault
				case len(args) > 0 && !slices.Contains(several, cmd.Name()):
					return nil, cobra.ShellCompDirectiveNoFileComp
				}
				return offered(complete(toComplete), toComplete)
			}
		}
		for name, complete := range flags {
			if cmd.Flags().Lookup(name) == nil {
				continue
			}
			err := cmd.RegisterFlagCompletionFunc(name, func(_ *cobra.Command, _ []string, toComplete string) ([]string, cobra.ShellCompDirective) {
				return offered(complete(toComplete), toComplete)
			})
			if err != nil {
				panic(err) // a flag is registered once: the commands are made anew
			}
		}
	}
}

// offered keeps what begins with what was typed. There is no space behind a
// candidate that is not the whole: a folder, or a key before its value.
func offered(candidates []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	directive := cobra.ShellCompDirectiveNoFileComp
	kept := slices.DeleteFunc(candidates, func(c string) bool { return !strings.HasPrefix(c, toComplete) })
	for _, c := range kept {
		word, _, _ := strings.Cut(c, "\t")
		if strings.HasSuffix(word, "/") || strings.HasSuffix(word, "=") {
			directive |= cobra.ShellCompDirectiveNoSpace
		}
	}
	return kept, directive
}

func presetsWithText(string) (list []string) {
	for _, p := range presets.All() {
		list = append(list, p.Name+"\t"+p.Environment+": "+p.Description)
	}
	return list
}

func isRun(path string) bool {
	_, err := os.Stat(filepath.Join(path, "config.yaml"))
	return err == nil
}

// paths lists what is wanted in the folder that was typed, and the folders on the
// way to more. Where nothing was typed yet, runs come first.
func paths(toComplete string, want func(path string) bool) (list []string) {
	dir, _ := filepath.Split(toComplete)
	if toComplete == "" {
		found, _ := filepath.Glob(filepath.Join("runs", "*")) // the pattern is sound
		list = append(list, slices.DeleteFunc(found, func(p string) bool { return !want(p) })...)
	}
	read := dir
	if read == "" {
		read = "."
	}
	entries, _ := os.ReadDir(read) // what cannot be read offers nothing
	for _, e := range entries {
		path := dir + e.Name()
		info, err := os.Stat(path)
		switch {
		case err != nil || strings.HasPrefix(e.Name(), ".") && !strings.HasPrefix(toComplete, path):
		case want(path):
			list = append(list, path)
		case info.IsDir():
			list = append(list, path+"/")
		}
	}
	return list
}

// settings offers the keys of a configuration, and behind = the values that a key
// lists word by word.
func settings(toComplete string) (list []string) {
	keys, err := docs.Keys()
	if err != nil {
		return nil // the shell shows no errors; a test reads the same page
	}
	typed, _, valued := strings.Cut(toComplete, "=")
	for _, k := range keys {
		path := strings.ReplaceAll(k.Path, "*", "0")
		switch {
		case strings.HasPrefix(path, "run.earlier."):
		case !valued:
			list = append(list, path+"=\t"+k.Meaning)
		case path == typed:
			for _, value := range valuesOf(k) {
				list = append(list, path+"="+value)
			}
		}
	}
	return list
}

func valuesOf(k docs.Key) []string {
	switch {
	case k.Path == "env.id":
		return env.IDs()
	case k.Path == "run.device":
		return devices()
	case k.Type == "switch":
		return []string{"true", "false"}
	}
	return k.Words
}

// devices are those that this build and machine have.
func devices() []string {
	list := []string{train.DeviceAuto, train.DeviceCPU}
	gpus, err := train.GPUs()
	if err != nil {
		return list
	}
	list = append(list, train.DeviceCUDA)
	for _, gpu := range gpus {
		name, about, _ := strings.Cut(gpu, " ")
		list = append(list, name+"\t"+about)
	}
	return list
}

func formats() (list []string) {
	for _, format := range export.Formats() {
		list = append(list, string(format))
	}
	return list
}

// arms completes the last of a list of strategies.
func arms(toComplete string) (list []string) {
	before := toComplete[:strings.LastIndexByte(toComplete, ',')+1]
	for _, arm := range study.DefaultArms() {
		if !slices.Contains(strings.Split(before, ","), arm) {
			list = append(list, before+arm)
		}
	}
	return list
}
