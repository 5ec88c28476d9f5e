package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// mistakesPlace is a folder with everything that the wrong usages name.
func mistakesPlace(t *testing.T) string {
	t.Helper()
	dir := workplace(t)
	_, errs, code := brood(t, dir, "train", "small.yaml", "--out", "done", "--quiet")
	require.Zero(t, code, errs)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "folder"), 0o755))
	for name, text := range map[string]string{
		"tab.yaml": "ppo:\n\tgamma: 1\n", "list.yaml": "[1, 2]\n", "words.yaml": "hello\n", "empty.yaml": "", "twice.yaml": "ppo:\n  gamma: 0.9\n  gamma: 0.8\n",
		"utf16.yaml": "\xff\xfep\x00p\x00o\x00", "binary.yaml": "ppo: \x00\x01", "numbers.yaml": "ppo: {gamma: .nan, learning_rate: -1}\n",
		"huge.yaml": "ppo: {steps: 99999999999999999999}\n", "big.yaml": "#" + strings.Repeat("x", 2<<20), "top.yaml": "gamma: 0.9\n",
		"types.yaml": "ppo: {gamma: high, steps: 1.5, normalize_rewards: 1}\n", "garbage.ckpt": "\x93\x01\x02\x03 garbage \xff",
		"documents.yaml": "ppo: {}\n---\nppo: {}\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	return dir
}

// What people type wrongly, by hand first and then here. Every message names what is
// wrong and what would be right, fits on the screen, and nothing is left behind.
func TestMistakes(t *testing.T) {
	dir := mistakesPlace(t)
	long := strings.Repeat("x", 5000)
	for _, test := range []struct {
		args []string
		code int
		want string // in stderr
	}{
		{[]string{"trian"}, 2, `unknown command "trian"; did you mean train?`},
		{[]string{"evaluate", "done"}, 2, "did you mean eval?"},
		{[]string{"cartpole"}, 2, "did you mean `brood train cartpole`?"},
		{[]string{"small.yaml"}, 2, "did you mean `brood train small.yaml`?"},
		{[]string{"help", "trian"}, 2, "did you mean train?"},
		{[]string{"--verison"}, 2, "unknown flag: --verison; did you mean --version?"},
		{[]string{"completion"}, 2, "the shell: bash, zsh, fish, powershell"},
		{[]string{"completion", "tcsh"}, 2, `got "tcsh"`},
		{[]string{"doctor", "x"}, 2, "brood doctor takes no argument; got x"},

		{[]string{"train", "--sed", "3"}, 2, "unknown flag: --sed; did you mean --seed?; see `brood train --help`"},
		{[]string{"train", "--seed", "-1"}, 2, "--seed -1: want a whole number from 0 to 18446744073709551615"},
		{[]string{"train", "--seed", "99999999999999999999"}, 2, "want a whole number from 0 to 18446744073709551615"},
		{[]string{"train", "--json=maybe"}, 2, "--json maybe: want true or false, or nothing"},
		{[]string{"train", "--disk-wait", "5"}, 2, "--disk-wait 5: want a time with its unit, such as 90s, 5m or 12h"},
		{[]string{"train", "small.yaml", "--disk-wait", "-5s"}, 2, "--disk-wait -5s: want 0s or longer"},
		{[]string{"train", "small.yaml", "--out", ""}, 2, "--out is empty"},
		{[]string{"train", "small.yaml", "--out", "small.yaml"}, 2, "small.yaml: not a directory"},
		{[]string{"train", "small.yaml", "--out", "small.yaml/x"}, 2, "small.yaml/x: not a directory"},
		{[]string{"train", "small.yaml", "--out", long}, 2, "... (5000 bytes)"},
		{[]string{"train", "small.yaml", "--device", ""}, 2, "--device is empty"},

		{[]string{"train", "cartpol"}, 2, "did you mean cartpole?"},
		{[]string{"train", "Pendulum"}, 2, "did you mean pendulum?"},
		{[]string{"train", "smal.yaml"}, 2, "did you mean small.yaml?"},
		{[]string{"train", "done/confg.yaml"}, 2, "did you mean done/config.yaml?"},
		{[]string{"train", ""}, 2, "the name of the configuration is empty"},
		{[]string{"train", "folder"}, 2, "folder is a folder, and a YAML file is wanted"},
		{[]string{"train", "done"}, 2, "`brood resume done` continues the run, done/config.yaml is its configuration"},
		{[]string{"train", "/dev/zero"}, 2, "/dev/zero: more than 1048576 bytes of YAML"},
		{[]string{"train", "big.yaml"}, 2, "big.yaml: more than 1048576 bytes of YAML"},
		{[]string{"train", long}, 2, "... (5000 bytes)"},
		{[]string{"train", "tab.yaml"}, 2, "line 2 is indented with a tab, and YAML wants spaces"},
		{[]string{"train", "binary.yaml"}, 2, "binary.yaml is not a text in UTF-8"},
		{[]string{"train", "utf16.yaml"}, 2, "utf16.yaml is not a text in UTF-8"},
		{[]string{"train", "list.yaml"}, 2, "is a list, but keys are expected here: env, policy"},
		{[]string{"train", "words.yaml"}, 2, `is the text "hello", but keys are expected here`},
		{[]string{"train", "twice.yaml"}, 2, `mapping key "gamma" already defined`},
		{[]string{"train", "documents.yaml"}, 2, "2 YAML documents; a configuration is one"},
		{[]string{"train", "top.yaml"}, 2, "gamma: unknown key; did you mean ppo.gamma?"},
		{[]string{"train", "numbers.yaml"}, 2, "ppo.gamma: NaN is not valid: must be in [0, 1]"},
		{[]string{"train", "types.yaml"}, 2, `ppo.steps: is 1.5, but a whole number is expected`},
		{[]string{"train", "huge.yaml"}, 2, "ppo.steps: is 99999999999999999999, which is beyond 64 bits"},

		{[]string{"train", "--set", "gamma"}, 2, "--set gamma: want KEY=VALUE"},
		{[]string{"train", "--set", "=3"}, 2, "--set =3: want KEY=VALUE"},
		{[]string{"train", "--set", "gamma=0.9"}, 2, "unknown key; did you mean ppo.gamma?"},
		{[]string{"train", "--set", "ppo.gama=0.9"}, 2, "did you mean gamma?"},
		{[]string{"train", "--set", "ppo.gamma="}, 2, "there is no value after ="},
		{[]string{"train", "--set", "ppo=3"}, 2, "keys are expected here: steps, epochs"},
		{[]string{"train", "--set", "policy.hidden=64"}, 2, "is 64, but a list is expected"},
		{[]string{"train", "--set", "ppo.gamma=[1"}, 2, "not valid YAML"},
		{[]string{"train", "--set", "pbt.hyperparameters.5.min=1"}, 2, "is a list of 2, counted from 0"},
		{[]string{"train", "--set", "pbt.population_size=1e30"}, 2, "is 1e30, which is beyond 64 bits"},
		{[]string{"train", "--set", "pbt.population_size=-3"}, 2, "-3 is not valid: must be 1 to 65536"},
		{[]string{"train", "--set", "run.seed=-1"}, 2, "is -1, but a whole number, 0 or above is expected"},

		{[]string{"init", "pendulm"}, 2, `there is no preset "pendulm"; did you mean pendulum?`},
		{[]string{"init", "a", "b"}, 2, "brood init takes one preset, got 2: a b"},
		{[]string{"init", "--out", "small.yaml"}, 2, "small.yaml is there already, and is not overwritten"},
		{[]string{"init", "--out", "folder"}, 2, "folder is there already"},
		{[]string{"init", "--out", "nowhere/x.yaml"}, 2, "nowhere/x.yaml: no such file or directory"},

		{[]string{"eval", "small.yaml"}, 2, "small.yaml is a text, and not a member file such as member-000.ckpt"},
		{[]string{"eval", "empty.yaml"}, 2, "empty.yaml is empty"},
		{[]string{"eval", "garbage.ckpt"}, 1, "damaged checkpoint"},
		{[]string{"eval", "/dev/zero"}, 1, "it is no regular file"},
		{[]string{"eval", "doen"}, 2, "did you mean done?"},
		{[]string{"eval", "done/best.ckp"}, 2, "did you mean done/best.ckpt?"},
		{[]string{"eval", ""}, 2, "it is empty"},
		{[]string{"eval", "folder"}, 2, "folder is neither a run folder (with config.yaml), a checkpoint folder nor a member file"},
		{[]string{"eval", "done", "--episodes", "0"}, 2, "must be 1 to 1000000"},
		{[]string{"eval", "done", "--episodes", "many"}, 2, "--episodes many: want a whole number"},
		{[]string{"inspect", "words.yaml"}, 2, "words.yaml is a text"},
		{[]string{"resume", "small.yaml"}, 2, "small.yaml: not a directory"},
		{[]string{"resume", "folder"}, 2, "folder, which is no run folder"},
		{[]string{"lineage", "doen"}, 2, "did you mean done?"},
		{[]string{"experiment", "folder"}, 2, "folder is a folder"},
		{[]string{"experiment", "/dev/zero"}, 2, "more than 1048576 bytes"},
		{[]string{"experiment", "binary.yaml"}, 2, "not a text in UTF-8"},
		{[]string{"convert", "small.yaml", "out.ckpt", "--env", "CartPole-v1"}, 1, "neither a zip archive"},
	} {
		name := strings.Join(test.args, " ")
		t.Run(name[:min(len(name), 60)], func(t *testing.T) {
			out, errs, code := brood(t, dir, test.args...)
			assert.Equal(t, test.code, code, errs)
			assert.Contains(t, errs, test.want)
			assert.Empty(t, out, "errors go to stderr")
			assert.True(t, strings.HasPrefix(errs, "brood: "), errs)
			for _, ugly := range []string{"strconv.", "panic", "goroutine", "%!", "bad usage: "} {
				assert.NotContains(t, errs, ugly)
			}
			assert.Equal(t, strings.ToValidUTF8(errs, ""), errs)
			assert.Less(t, len(errs), 1500, "it fits on the screen")
		})
	}
	assert.NoDirExists(t, filepath.Join(dir, "runs"), "what was refused leaves no run")
	assert.NoFileExists(t, filepath.Join(dir, "out.ckpt"))
	kept, err := os.ReadFile(filepath.Join(dir, "small.yaml"))
	require.NoError(t, err)
	assert.Equal(t, smallYAML, string(kept))
}

// Only one mistake is told where there is one.
func TestOneMistakeIsToldOnce(t *testing.T) {
	for _, set := range []string{"pbt.population_size=-3", "env.count=0", "ppo.steps=-1"} {
		_, errs, code := brood(t, t.TempDir(), "train", "--set", set)
		assert.Equal(t, 2, code)
		assert.NotContains(t, errs, "run.total_steps", set)
	}
	_, errs, _ := brood(t, t.TempDir(), "train", "--set", "run.total_steps=0")
	assert.Contains(t, errs, "run.total_steps: 0 is not valid")
}

// What looks unusual and is right.
func TestUnusualFilesTrain(t *testing.T) {
	dir := t.TempDir()
	windows := "\xef\xbb\xbf" + strings.ReplaceAll(smallYAML, "\n", "\r\n")
	for i, name := range []string{"my config.yaml", "конфиг.yaml", "-.yaml"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(windows), 0o644))
		out, errs, code := brood(t, dir, "train", "--quiet", "--out", filepath.Join("my runs", string(rune('a'+i))), "--", name)
		require.Zero(t, code, errs)
		assert.Contains(t, out, "steps/s")
	}
	_, errs, code := brood(t, dir, "eval", "my runs/a", "--episodes", "2")
	assert.Zero(t, code, errs)
}

// A disk that is full, or a place that is closed, is no mistake of the user's.
func TestPlacesThatCannotBeWritten(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("there is no /dev/full on this system")
	}
	defer full.Close()
	dir := workplace(t)
	for _, args := range [][]string{{"presets"}, {"--help"}, {"version"}, {"completion", "bash"}, {"init"}, {"train", "small.yaml", "--out", "a"}} {
		cmd := exec.Command(binary, args...)
		var errs bytes.Buffer
		cmd.Dir, cmd.Stdout, cmd.Stderr = dir, full, &errs
		require.Error(t, cmd.Run())
		assert.Equal(t, 1, cmd.ProcessState.ExitCode(), args)
		assert.Contains(t, errs.String(), "brood: standard output: write /dev/stdout: no space left on device", args)
	}
	_, errs, code := brood(t, dir, "train", "small.yaml", "--out", "/proc/brood")
	assert.NotZero(t, code)
	assert.Contains(t, errs, "make the run folder: mkdir /proc/brood: ")
	_, errs, code = brood(t, "/proc", "doctor")
	assert.Equal(t, 1, code)
	assert.Contains(t, errs, "training does not work here: see folder")
}

// `brood presets | head -1`: the one who reads goes away, and brood goes, too, without
// a word. A run is not ended by it.
func TestNobodyReads(t *testing.T) {
	dir := workplace(t)
	run := func(stderrToo bool, args ...string) (string, *os.ProcessState) {
		reader, writer, err := os.Pipe()
		require.NoError(t, err)
		require.NoError(t, reader.Close())
		defer writer.Close()
		cmd := exec.Command(binary, args...)
		var errs bytes.Buffer
		cmd.Dir, cmd.Stdout, cmd.Stderr = dir, writer, &errs
		if stderrToo {
			cmd.Stderr = writer
		}
		_ = cmd.Run() // how it ended is what the test looks at
		return errs.String(), cmd.ProcessState
	}
	errs, state := run(false, "presets")
	assert.Empty(t, errs)
	assert.Equal(t, syscall.SIGPIPE, state.Sys().(syscall.WaitStatus).Signal())
	run(true, "train", "small.yaml", "--out", "a")
	assert.FileExists(t, filepath.Join(dir, "a", "summary.json"), "the run went on to its end")
}
