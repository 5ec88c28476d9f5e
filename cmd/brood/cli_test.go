package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// binary is the command as users get it, built once.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "brood-cli-*")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "brood")
	build := exec.Command("go", "build", "-tags", buildTags, "-o", binary, ".")
	build.Stdout, build.Stderr = os.Stdout, os.Stderr
	code := 1
	if err := build.Run(); err == nil {
		code = m.Run()
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

const smallYAML = `env: {id: CartPole-v1, count: 4}
policy: {hidden: [8]}
ppo: {steps: 16, epochs: 2, minibatches: 2}
pbt: {population_size: 4, perturbation_interval: 3, ready_percentage: 0.5}
checkpoint: {every: 5}
run: {total_steps: 3000, selection_episodes: 3}
`

// brood runs the binary in dir and returns what it printed and its exit code.
func brood(t *testing.T, dir string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.Command(binary, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// workplace is a folder with small.yaml.
func workplace(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "small.yaml"), []byte(smallYAML), 0o644))
	return dir
}

func object(t *testing.T, text string) map[string]any {
	t.Helper()
	var v map[string]any
	require.NoError(t, json.Unmarshal([]byte(text), &v), text)
	return v
}

func TestTrainEvalInspect(t *testing.T) {
	dir := workplace(t)
	out, errs, code := brood(t, dir, "train", "small.yaml", "--out", "runs/a", "--json", "--quiet")
	require.Zero(t, code, errs)
	assert.Empty(t, errs, "--quiet")
	summary := object(t, out)
	stored, err := os.ReadFile(filepath.Join(dir, "runs/a/summary.json"))
	require.NoError(t, err)
	assert.Equal(t, summary, object(t, string(stored)), "--json prints what summary.json holds")
	assert.EqualValues(t, 12, summary["updates"])
	assert.EqualValues(t, 3072, summary["env_steps"])
	assert.EqualValues(t, 4, summary["population"])
	assert.Nil(t, summary["stopped"])
	best := summary["best"].(map[string]any)
	assert.Equal(t, "runs/a/best.ckpt", best["checkpoint"])
	assert.Len(t, summary["members"], 4)

	out, errs, code = brood(t, dir, "eval", "runs/a", "--json", "--episodes", "7", "--seed", "3")
	require.Zero(t, code, errs)
	played := object(t, out)
	for _, key := range []string{"mean_return", "std_return", "min_return", "max_return", "mean_length"} {
		assert.Contains(t, played, key)
	}
	assert.EqualValues(t, 7, played["episodes"])
	assert.Equal(t, played["mean_return"], played["mean_length"], "CartPole pays 1 a step")
	again, _, _ := brood(t, dir, "eval", "runs/a/best.ckpt", "--json", "--episodes", "7", "--seed", "3")
	assert.Equal(t, out, again, "a run folder stands for its best member")
	human, _, code := brood(t, dir, "eval", "runs/a", "--episodes", "7")
	require.Zero(t, code)
	assert.Contains(t, human, "CartPole-v1  7 episodes, seed 0  runs/a/best.ckpt\nmean return  ")

	out, errs, code = brood(t, dir, "inspect", "runs/a", "--json")
	require.Zero(t, code, errs)
	inspected := object(t, out)
	assert.Equal(t, "v2_full_parameters", inspected["format_version"])
	assert.EqualValues(t, 12, inspected["step"])
	assert.Equal(t, best["mean_return"], inspected["performance"])
	assert.Equal(t, true, inspected["has_optimizer_state"])
	assert.Equal(t, "CartPole-v1", inspected["env"].(map[string]any)["id"])
	sections := inspected["sections"].(map[string]any)
	for section, tensor := range map[string]string{"policy": "actor.0.weight", "optimizer_state": "step", "vgs_state": "mean_abs",
		"kl_penalty_state": "beta", "observation_norm": "mean", "hyperparameters": "gamma", "rng": "seed"} {
		require.Contains(t, sections, section)
		assert.Contains(t, sections[section].(map[string]any)["tensors"], tensor)
	}
	assert.Equal(t, []any{8.0, 4.0}, sections["policy"].(map[string]any)["tensors"].(map[string]any)["actor.0.weight"])
	human, _, code = brood(t, dir, "inspect", "runs/a/best.ckpt")
	require.Zero(t, code)
	assert.Contains(t, human, "checksums        verified")

	digest, errs, code := brood(t, dir, "inspect", "runs/a", "--digest")
	require.Zero(t, code, errs)
	assert.Regexp(t, `^[0-9a-f]{64}\n$`, digest)
	_, _, code = brood(t, dir, "train", "runs/a/config.yaml", "--out", "runs/b", "--quiet")
	require.Zero(t, code)
	same, _, _ := brood(t, dir, "inspect", "runs/b", "--digest")
	assert.Equal(t, digest, same, "config.yaml runs again as it is")
	_, _, code = brood(t, dir, "train", "small.yaml", "--out", "runs/c", "--quiet", "--seed", "2")
	require.Zero(t, code)
	other, _, _ := brood(t, dir, "inspect", "runs/c", "--digest")
	assert.NotEqual(t, digest, other)
}

func TestTrainForPeople(t *testing.T) {
	dir := workplace(t)
	out, errs, code := brood(t, dir, "train", "small.yaml", "--seed", "5")
	require.Zero(t, code, errs)
	folders, err := filepath.Glob(filepath.Join(dir, "runs", "small-*-seed5"))
	require.NoError(t, err)
	require.Len(t, folders, 1, "the default folder names what was run")
	folder := filepath.Join("runs", filepath.Base(folders[0]))
	assert.Contains(t, errs, "CartPole-v1  4 members x 4 environments  ")
	assert.Contains(t, errs, "100%  3.07k steps  ")
	assert.NotContains(t, errs, "\x1b", "no escape codes outside a terminal")
	assert.NotContains(t, errs, "\r")
	assert.Contains(t, out, "CartPole-v1  3,072 env steps in ")
	assert.Contains(t, out, "member  mean return")
	assert.Contains(t, out, "checkpoint  "+folder+"/best.ckpt\n")
	assert.True(t, strings.HasSuffix(out, "next        brood eval "+folder+"\n"), out)
}

// mistake is a command line that is refused.
type mistake struct {
	args string // separated by spaces
	code int
	want string // in stderr
}

// check runs the command line in dir, where it must make none of the files.
func (m mistake) check(t *testing.T, dir string, files ...string) {
	t.Helper()
	t.Run(m.args, func(t *testing.T) {
		out, errs, code := brood(t, dir, strings.Fields(m.args)...)
		assert.Equal(t, m.code, code, errs)
		assert.Contains(t, errs, m.want)
		assert.Empty(t, out, "errors go to stderr")
		for _, file := range files {
			assert.NoFileExists(t, filepath.Join(dir, file))
		}
	})
}

func TestExitCodesAndMessages(t *testing.T) {
	dir := workplace(t)
	_, errs, code := brood(t, dir, "train", "small.yaml", "--out", "done", "--quiet")
	require.Zero(t, code, errs)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "bad.yaml"), []byte("ppo:\n  gama: 1\n  steps: x\n"), 0o644))
	member, err := os.ReadFile(filepath.Join(dir, "done/best.ckpt"))
	require.NoError(t, err)
	member[len(member)/2] ^= 1
	require.NoError(t, os.WriteFile(filepath.Join(dir, "damaged.ckpt"), member, 0o644))
	_, errs, code = brood(t, dir, "train", "small.yaml", "--out", "incomplete", "--quiet")
	require.Zero(t, code, errs)
	sets, err := filepath.Glob(filepath.Join(dir, "incomplete/checkpoints/*"))
	require.NoError(t, err)
	for _, set := range sets {
		require.NoError(t, os.Remove(filepath.Join(set, "member-002.ckpt")))
	}
	mistakes := []mistake{
		{"bogus", 2, `unknown command "bogus"`},
		{"train --bogus", 2, "unknown flag: --bogus; see `brood train --help`"},
		{"train --seed x", 2, "--seed x: want a whole number from 0 to 18446744073709551615"},
		{"train a b", 2, "takes one preset or configuration, got 2: a b"},
		{"train nothing.yaml", 2, "nothing.yaml is neither a preset (cartpole, acrobot, mountaincar, mountaincar-continuous, pendulum) nor a file"},
		{"train bad.yaml", 2, "brood: bad.yaml:2:3: ppo.gama: unknown key; did you mean gamma?\n       bad.yaml:3:10: ppo.steps: is the text \"x\", but a whole number is expected\n"},
		{"train --set ppo.gama=1", 2, "brood: --set ppo.gama=1: ppo.gama: unknown key; did you mean gamma?"},
		{"train --set gamma", 2, "--set gamma: want KEY=VALUE"},
		{"train --device gpu", 2, `"gpu" is not valid: must be auto, cpu, cuda or cuda:N`},
		{"train small.yaml --out done", 2, "the run folder is not empty: done holds a run; choose another --out, or continue it with `brood resume done`"},
		{"train small.yaml --out done/best.ckpt/x", 2, "not a directory"},
		{"resume", 2, "brood resume takes one argument, the run folder; got 0"},
		{"resume nowhere", 2, "nowhere"},
		{"resume s3://bucket/run", 2, "into a folder of this machine: --out DIR"},
		{"resume done --out again", 2, "it has no run.json, so it is not the checkpoint.url of a run"},
		{"train --set checkpoint.url=http://host/x", 2, "--set checkpoint.url=http://host/x: checkpoint.url: store: not the URL of a store: the scheme is http://"},
		{"resume incomplete", 1, "is sound; `brood inspect --verify incomplete` lists them"},
		{"resume done --set env.id=Acrobot-v1", 2, "env.id: Acrobot-v1 cannot be resumed: the run was made with CartPole-v1"},
		{"eval", 2, "takes one argument"},
		{"eval nowhere", 2, "nowhere"},
		{"eval done --episodes 0", 2, "episodes: 0 is not valid: must be 1 to 1000000"},
		{"eval damaged.ckpt", 1, "damaged checkpoint"},
		{"eval small.yaml", 2, "small.yaml is a text, and not a member file"},
		{"resume .", 2, "no complete checkpoint in ."},
		{"inspect damaged.ckpt", 1, "damaged checkpoint"},
		{"inspect done --json --digest", 2, "--digest prints the digest alone"},
		{"inspect done --verify --digest", 2, "--digest prints the digest alone"},
		{"inspect nowhere --verify", 2, "nowhere"},
		{"inspect . --verify", 2, "no complete checkpoint"},
		{"presets x", 2, "brood presets takes no argument; got x"},
	}
	for _, m := range mistakes {
		m.check(t, dir)
	}
	runs, err := filepath.Glob(filepath.Join(dir, "runs", "*"))
	require.NoError(t, err)
	assert.Empty(t, runs, "a run that was refused leaves no folder")
}

// Damage is listed, and a resume goes on from what is sound and says so.
func TestDamageForPeople(t *testing.T) {
	dir := workplace(t)
	_, errs, code := brood(t, dir, "train", "small.yaml", "--out", "a", "--quiet")
	require.Zero(t, code, errs)
	out, errs, code := brood(t, dir, "inspect", "--verify", "a")
	require.Zero(t, code, errs)
	assert.Regexp(t, `(?m)^sound      a/checkpoints/00000012  4 members$`, out)
	assert.NotContains(t, out, "damaged")

	path := filepath.Join(dir, "a/checkpoints/00000012/member-002.ckpt")
	member, err := os.ReadFile(path)
	require.NoError(t, err)
	at := bytes.Index(member, []byte("actor.2.weight"))
	require.Positive(t, at)
	member[at+100] ^= 1
	require.NoError(t, os.WriteFile(path, member, 0o644))
	out, errs, code = brood(t, dir, "inspect", "--verify", "a")
	require.Equal(t, 1, code)
	assert.Regexp(t, `(?m)^damaged    a/checkpoints/00000012  4 members\n             member-002.ckpt: damaged checkpoint: section \w+, tensor `, out)
	assert.Regexp(t, `brood: damaged checkpoint: 1 of \d are not sound\n`, errs)
	out, _, code = brood(t, dir, "inspect", "--verify", "--json", "a/checkpoints/00000012")
	require.Equal(t, 1, code)
	var list []map[string]any
	require.NoError(t, json.Unmarshal([]byte(out), &list))
	require.Len(t, list, 1)
	assert.Equal(t, false, list[0]["sound"])
	assert.Len(t, list[0]["problems"], 1)

	_, errs, code = brood(t, dir, "resume", "a")
	require.Zero(t, code, errs)
	assert.Contains(t, errs, "warning: ckpt: read the set a/checkpoints/00000012: member-002.ckpt: damaged checkpoint: section ")
	assert.Regexp(t, `the run goes on from the checkpoint of update \d+; the damaged one is set aside as a/checkpoints/00000012.damaged`, errs)
	out, errs, code = brood(t, dir, "inspect", "--verify", "a")
	require.Zero(t, code, errs)
	assert.Contains(t, out, "set aside  a/checkpoints/00000012.damaged")
}

func TestDoctorAndPresetsAndHelp(t *testing.T) {
	out, _, code := brood(t, t.TempDir(), "doctor")
	require.Zero(t, code)
	for _, want := range []string{"\ncpu ", "\nthreads ", "\nmemory ", "\ngpu ", "trained and played a small population"} {
		assert.Contains(t, out, want)
	}
	out, _, code = brood(t, t.TempDir(), "presets")
	require.Zero(t, code)
	for _, want := range []string{"cartpole ", "acrobot ", "mountaincar ", "mountaincar-continuous ", "pendulum ", "-172.2"} {
		assert.Contains(t, out, want)
	}
	out, _, code = brood(t, t.TempDir())
	require.Zero(t, code)
	assert.Contains(t, out, "Available Commands:")
}

// A real Ctrl-C, or SIGTERM, in the middle of a run.
func TestSignalThenResume(t *testing.T) {
	dir := workplace(t)
	// Long enough that the signal, sent at the first lines of metrics, comes well
	// before the end.
	long := []string{"--set", "run.total_steps=600000", "--quiet", "--set", "checkpoint.every=0"}
	_, errs, code := brood(t, dir, append([]string{"train", "small.yaml", "--out", "whole"}, long...)...)
	require.Zero(t, code, errs)
	whole, _, _ := brood(t, dir, "inspect", "whole", "--digest")

	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			out := signal.String()
			cmd := exec.Command(binary, append([]string{"train", "small.yaml", "--out", out}, long...)...)
			cmd.Dir = dir
			var said bytes.Buffer
			cmd.Stderr = &said
			require.NoError(t, cmd.Start())
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			// The first lines appear after a tenth of the run.
			waitForContent(t, ended, filepath.Join(dir, out, "metrics.jsonl"))
			require.NoError(t, cmd.Process.Signal(signal))
			require.Error(t, <-ended)
			require.Equal(t, 130, cmd.ProcessState.ExitCode(), said.String())
			assert.Contains(t, said.String(), "to go on: brood resume "+out)

			stopped, errs, code := brood(t, dir, "resume", out, "--json", "--quiet")
			require.Zero(t, code, errs)
			assert.Nil(t, object(t, stopped)["stopped"])
			digest, _, _ := brood(t, dir, "inspect", out, "--digest")
			assert.Equal(t, whole, digest)
			for _, file := range []string{"metrics.jsonl", "decisions.jsonl"} {
				want, err := os.ReadFile(filepath.Join(dir, "whole", file))
				require.NoError(t, err)
				got, err := os.ReadFile(filepath.Join(dir, out, file))
				require.NoError(t, err)
				assert.True(t, bytes.Equal(want, got), "%s is that of an uninterrupted run", file)
			}
		})
	}
}

// waitForContent polls until the file holds something; it fails once the process
// has ended.
func waitForContent(t *testing.T, ended <-chan error, path string) {
	t.Helper()
	for {
		if info, err := os.Stat(path); err == nil && info.Size() > 0 {
			return
		}
		select {
		case err := <-ended:
			t.Fatalf("the process ended before %s had content: %v", path, err)
		case <-time.After(time.Millisecond):
		}
	}
}

// The second Ctrl-C does not wait for an update, here one of many seconds.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	dir := workplace(t)
	cmd := exec.Command(binary, "train", "small.yaml", "--out", "a", "--quiet", "--set", "ppo.steps=100000", "--set", "env.count=64")
	cmd.Dir = dir
	stderr, writer := io.Pipe()
	cmd.Stderr = writer
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() {
		ended <- cmd.Wait()
		writer.Close()
	}()
	waitForContent(t, ended, filepath.Join(dir, "a", "config.yaml"))
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "stopping: ") {
			require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
		}
	}
	require.Error(t, <-ended)
	assert.Equal(t, 130, cmd.ProcessState.ExitCode())
	sets, err := filepath.Glob(filepath.Join(dir, "a", "checkpoints", "*"))
	require.NoError(t, err)
	assert.Empty(t, sets, "it did not finish the update")
}
