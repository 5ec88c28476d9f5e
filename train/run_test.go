package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"brood/ckpt"
	"brood/pbt"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// small is a run of 4 members and 12 updates that exploits at every third.
const small = `
env: {id: CartPole-v1, count: 4}
policy: {hidden: [8]}
critic: {type: scalar}
ppo: {steps: 16, epochs: 2, minibatches: 2, learning_rate_schedule: linear, normalize_observations: true}
pbt:
  population_size: 4
  perturbation_interval: 3
  ready_percentage: 0.5
  hyperparameters:
    - {name: learning_rate, min: 1e-4, max: 1e-2, log_scale: true}
    - {name: clip_range, min: 0.05, max: 0.4}
checkpoint: {every: 5, keep: 2}
run: {total_steps: 3000, seed: 7, selection_episodes: 3, device: cpu}
`

func smallConfig(t *testing.T, set ...string) Config {
	t.Helper()
	cfg, err := load(t, small, set...)
	require.NoError(t, err)
	require.EqualValues(t, 12, cfg.TotalUpdates(), "3000 steps of 256 are rounded up")
	return cfg
}

// trainNew trains a new run to its end.
func trainNew(t *testing.T, cfg Config, opts Options) *Summary {
	t.Helper()
	run, err := New(cfg, opts)
	require.NoError(t, err)
	defer run.Close()
	summary, err := run.Train(context.Background())
	require.NoError(t, err)
	require.NoError(t, run.Close())
	return summary
}

// trainUntil trains and interrupts after an update.
func trainUntil(t *testing.T, start func(Options) (*Run, error), update int64) *Summary {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	run, err := start(Options{Progress: func(p *Progress) {
		if p.Update == update {
			cancel()
		}
	}})
	require.NoError(t, err)
	defer run.Close()
	summary, err := run.Train(ctx)
	require.NoError(t, err)
	require.NoError(t, run.Close())
	return summary
}

func digest(t *testing.T, path string) string {
	t.Helper()
	sum, err := Digest(path)
	require.NoError(t, err)
	return fmt.Sprintf("%x", sum)
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path...))
	require.NoError(t, err)
	return string(data)
}

func TestRunFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "runs", "a")
	cfg := smallConfig(t)
	s := trainNew(t, cfg, Options{Dir: dir})

	assert.EqualValues(t, 12, s.Updates)
	assert.EqualValues(t, 12*4*4*16, s.EnvSteps)
	assert.Nil(t, s.Stopped)
	require.NotNil(t, s.Best)
	assert.Equal(t, filepath.Join(dir, "best.ckpt"), s.Best.Checkpoint)
	for _, m := range s.Members {
		require.NotNil(t, m.Selection)
		assert.LessOrEqual(t, m.Selection.MeanReturn, s.Best.MeanReturn)
		assert.Len(t, m.Hyperparameters, 2)
	}
	var stored map[string]any
	require.NoError(t, json.Unmarshal([]byte(read(t, dir, "summary.json")), &stored))
	for _, key := range []string{"run", "env", "device", "population", "env_steps", "updates", "seconds", "env_steps_per_second", "exploits", "best", "stopped", "members"} {
		assert.Contains(t, stored, key)
	}

	// Updates 3, 6 and 9 have decisions; what is copied after the last update
	// would never be trained.
	decisions := strings.Split(strings.TrimSpace(read(t, dir, "decisions.jsonl")), "\n")
	assert.EqualValues(t, len(decisions), s.Exploits)
	assert.Positive(t, s.Exploits)
	for _, line := range decisions {
		var d DecisionLine
		require.NoError(t, json.Unmarshal([]byte(line), &d))
		assert.Contains(t, []int64{3, 6, 9}, d.Update)
		assert.Equal(t, d.Update*256, d.EnvSteps)
		assert.NotEqual(t, d.Member, d.Source)
		assert.Equal(t, pbt.ResetOptimizer, d.OptimizerStrategy)
		require.Contains(t, d.Hyperparameters, "learning_rate")
		assert.NotEqual(t, d.Hyperparameters["learning_rate"].Source, d.Hyperparameters["learning_rate"].After)
	}
	metrics := strings.Split(strings.TrimSpace(read(t, dir, "metrics.jsonl")), "\n")
	require.Len(t, metrics, 12*4)
	for i, line := range metrics {
		var m map[string]*float64
		require.NoError(t, json.Unmarshal([]byte(line), &m), line)
		assert.EqualValues(t, 1+i/4, *m["update"])
		assert.EqualValues(t, i%4, *m["member"])
		for _, name := range append(MetricNames(), "clip_range") {
			assert.Contains(t, m, name)
		}
	}
	sets, err := os.ReadDir(filepath.Join(dir, "checkpoints"))
	require.NoError(t, err)
	require.Len(t, sets, 2, "keep is 2")
	assert.Equal(t, "00000010", sets[0].Name())
	assert.Equal(t, "00000012", sets[1].Name())
}

// An explored hyperparameter is what the member trains with from the next update.
func TestExploredValuesReachTheNextUpdate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a")
	trainNew(t, smallConfig(t, "ppo.learning_rate_schedule=constant"), Options{Dir: dir})
	metrics := strings.Split(read(t, dir, "metrics.jsonl"), "\n")
	for _, line := range strings.Split(strings.TrimSpace(read(t, dir, "decisions.jsonl")), "\n") {
		var d DecisionLine
		require.NoError(t, json.Unmarshal([]byte(line), &d))
		var next struct {
			Update       int64
			Member       int
			LearningRate float32 `json:"learning_rate"`
			ClipRange    float32 `json:"clip_range"`
		}
		require.NoError(t, json.Unmarshal([]byte(metrics[int(d.Update)*4+d.Member]), &next))
		require.Equal(t, d.Update+1, next.Update)
		assert.Equal(t, float32(d.Hyperparameters["learning_rate"].After), next.LearningRate)
		assert.Equal(t, float32(d.Hyperparameters["clip_range"].After), next.ClipRange)
	}
}

func TestInterruptedRunResumesAsIfItHadNeverStopped(t *testing.T) {
	for _, metric := range []string{"train_return", "eval_return"} {
		t.Run(metric, func(t *testing.T) {
			cfg := smallConfig(t, "pbt.metric_name="+metric, "pbt.eval_episodes=2", "pbt.optimizer_exploit_strategy=copy")
			whole, parts := filepath.Join(t.TempDir(), "whole"), filepath.Join(t.TempDir(), "parts")
			want := trainNew(t, cfg, Options{Dir: whole})
			first := 1 + rand.Int64N(10)
			second := first + 1 + rand.Int64N(11-first)
			t.Logf("interrupted after updates %d and %d", first, second)

			s := trainUntil(t, func(o Options) (*Run, error) { o.Dir = parts; return New(cfg, o) }, first)
			require.Equal(t, first, s.Updates)
			require.Equal(t, Interrupted, *s.Stopped)
			s = trainUntil(t, func(o Options) (*Run, error) { return Resume(parts, nil, o) }, second)
			require.Equal(t, second, s.Updates)
			got := trainUntil(t, func(o Options) (*Run, error) { return Resume(parts, nil, o) }, -1)

			assert.Equal(t, digest(t, whole), digest(t, parts))
			for _, file := range []string{"config.yaml", "metrics.jsonl", "decisions.jsonl", "best.ckpt"} {
				assert.Equal(t, read(t, whole, file), read(t, parts, file), file)
			}
			assert.Equal(t, want.Members, got.Members)
			assert.Equal(t, want.Exploits, got.Exploits)
			assert.Equal(t, want.EnvSteps, got.EnvSteps)
		})
	}
}

// A run that was killed goes on from its last checkpoint, and what it had
// written after that point is written again, not twice.
func TestKilledRun(t *testing.T) {
	cfg := smallConfig(t)
	whole, killed := filepath.Join(t.TempDir(), "whole"), filepath.Join(t.TempDir(), "killed")
	trainNew(t, cfg, Options{Dir: whole})
	run, err := New(cfg, Options{Dir: killed})
	require.NoError(t, err)
	for run.updates < 8 {
		require.NoError(t, run.update(t.Context()))
		if run.updates == 5 {
			require.NoError(t, run.save())
		}
	}
	require.NoError(t, run.Close()) // the lines of updates 6 to 8 are in the files
	require.Equal(t, 8*4, strings.Count(read(t, killed, "metrics.jsonl"), "\n"))

	trainUntil(t, func(o Options) (*Run, error) { return Resume(killed, nil, o) }, 6)
	require.Equal(t, 6*4, strings.Count(read(t, killed, "metrics.jsonl"), "\n"), "the lines of updates 7 and 8 are gone")
	trainUntil(t, func(o Options) (*Run, error) { return Resume(killed, nil, o) }, -1)
	assert.Equal(t, digest(t, whole), digest(t, killed))
	assert.Equal(t, read(t, whole, "metrics.jsonl"), read(t, killed, "metrics.jsonl"))
	assert.Equal(t, read(t, whole, "decisions.jsonl"), read(t, killed, "decisions.jsonl"))
}

// After an interval a score is of what was finished since, or of the last 100
// episodes where those are more.
func TestIntervalsBeginAnew(t *testing.T) {
	run, err := New(smallConfig(t, "env.count=4", "ppo.steps=16"), Options{Dir: filepath.Join(t.TempDir(), "a")})
	require.NoError(t, err)
	defer run.Close()
	for range 60 {
		require.NoError(t, run.engine.Iterate(run.stats))
	}
	_, episodes := run.engine.Score(0)
	require.Greater(t, episodes, 100)
	run.updates = 60
	require.NoError(t, run.endInterval())
	for m := range run.scores {
		_, episodes := run.engine.Score(m)
		assert.LessOrEqual(t, episodes, 100)
	}
}

func TestThreadsDoNotChangeTheResult(t *testing.T) {
	var want string
	for _, threads := range []int{1, 2, 5} {
		dir := filepath.Join(t.TempDir(), "a")
		trainNew(t, smallConfig(t, fmt.Sprintf("run.threads=%d", threads)), Options{Dir: dir})
		if want == "" {
			want = digest(t, dir)
		}
		assert.Equal(t, want, digest(t, dir), "%d threads", threads)
	}
	other := filepath.Join(t.TempDir(), "other")
	trainNew(t, smallConfig(t, "run.seed=8"), Options{Dir: other})
	assert.NotEqual(t, want, digest(t, other), "another seed is another run")
}

// fullDisk refuses to write the checkpoints of updates that full names.
type fullDisk struct {
	ckpt.FS
	full func(update int) bool
}

func (d fullDisk) Create(path string) (ckpt.File, error) {
	update, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(filepath.Dir(path)), ".tmp-"))
	if err == nil && d.full(update) {
		return nil, &os.PathError{Op: "open", Path: path, Err: syscall.ENOSPC}
	}
	return d.FS.Create(path)
}

func TestFullDiskWhileTraining(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a")
	var warnings []string
	run, err := New(smallConfig(t), Options{Dir: dir, FS: fullDisk{ckpt.OS, func(update int) bool { return update == 10 }},
		Warn: func(m string) { warnings = append(warnings, m) }})
	require.NoError(t, err)
	defer run.Close()
	s, err := run.Train(context.Background())
	require.NoError(t, err, "the run goes on")
	assert.EqualValues(t, 12, s.Updates)
	require.Len(t, warnings, 1)
	assert.Contains(t, warnings[0], "no checkpoint of update 10")
	assert.Contains(t, warnings[0], "no space left on device")
	assert.Contains(t, warnings[0], "tries again at update 12")

	whole := filepath.Join(t.TempDir(), "whole")
	trainNew(t, smallConfig(t), Options{Dir: whole})
	assert.Equal(t, digest(t, whole), digest(t, dir), "nothing was lost")
}

func TestDiskStaysFull(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a")
	run, err := New(smallConfig(t), Options{Dir: dir, FS: fullDisk{ckpt.OS, func(update int) bool { return update >= 8 }}})
	require.NoError(t, err)
	defer run.Close()
	_, err = run.Train(context.Background())
	require.ErrorIs(t, err, syscall.ENOSPC)
	assert.Contains(t, err.Error(), "the checkpoint of update 12, the last of this run, could not be written")
	require.NoError(t, run.Close())

	whole := filepath.Join(t.TempDir(), "whole")
	trainNew(t, smallConfig(t), Options{Dir: whole})
	trainUntil(t, func(o Options) (*Run, error) { return Resume(dir, nil, o) }, -1)
	assert.Equal(t, digest(t, whole), digest(t, dir), "the last good checkpoint was intact")
}

func TestNewRefusesAFolderThatIsNotEmpty(t *testing.T) {
	dir := t.TempDir()
	trainNew(t, smallConfig(t), Options{Dir: dir}) // an empty one is taken
	before := read(t, dir, "metrics.jsonl")
	_, err := New(smallConfig(t, "run.seed=9"), Options{Dir: dir})
	require.ErrorIs(t, err, ErrRunExists)
	assert.Contains(t, err.Error(), "brood resume "+dir)
	assert.Equal(t, before, read(t, dir, "metrics.jsonl"))

	other := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(other, "notes.txt"), nil, 0o644))
	_, err = New(smallConfig(t), Options{Dir: other})
	require.ErrorIs(t, err, ErrRunExists)
	assert.Contains(t, err.Error(), "notes.txt")
}

func TestResumeErrors(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a")
	trainUntil(t, func(o Options) (*Run, error) { o.Dir = dir; return New(smallConfig(t), o) }, 4)
	resume := func(set ...string) error {
		settings, err := ParseSettings(set)
		require.NoError(t, err)
		run, err := Resume(dir, settings, Options{})
		if err == nil {
			require.NoError(t, run.Close())
		}
		return err
	}
	for set, want := range map[string]string{
		"env.id=Acrobot-v1":         "env.id: Acrobot-v1 cannot be resumed: the run was made with CartPole-v1",
		"pbt.population_size=0":     "pbt.population_size: 0 is not valid: must be 1 to 65536",
		"run.earlier=[]":            "run.earlier: cannot be set: it is the record of the population's earlier sizes",
		"policy.hidden=[16]":        "policy.hidden: [16] cannot be resumed: the run was made with [8]",
		"run.seed=8":                "run.seed: 8 cannot be resumed: the run was made with 7",
		"run.total_steps=100":       "run.total_steps: 100 is not valid: the run has done 1024 steps already",
		"ppo.learning_rate=1e-3":    "ppo.learning_rate: cannot be set on resuming: each member has its own",
		"ppo.gamma=2":               "ppo.gamma: 2 is not valid",
		"pbt.hyperparameters=[]":    "pbt.hyperparameters: [] cannot be resumed: the run was made with [learning_rate clip_range]",
		"pbt.perturbation_factor=2": "pbt.perturbation_factor: unknown key",
	} {
		err := resume(set)
		require.ErrorIs(t, err, ErrConfig, set)
		assert.Contains(t, err.Error(), "--set "+set+": "+want)
	}
	require.NoError(t, resume("run.total_steps=6000", "ppo.gamma=0.9"), "none of these attempts harmed the run")

	_, err := Resume(filepath.Join(dir, "nowhere"), nil, Options{})
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = Resume(t.TempDir(), nil, Options{})
	require.ErrorIs(t, err, ErrNoCheckpoint)
}

// A setting of a resumed run applies to all members at once, and to config.yaml.
func TestResumeWithSettings(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a")
	trainUntil(t, func(o Options) (*Run, error) { o.Dir = dir; return New(smallConfig(t), o) }, 4)
	settings, err := ParseSettings([]string{"ppo.gamma=0.5", "run.total_steps=4000"})
	require.NoError(t, err)
	run, err := Resume(dir, settings, Options{})
	require.NoError(t, err)
	defer run.Close()
	for m := range run.hyper {
		assert.Equal(t, float32(0.5), run.hyper[m][1], "gamma of member %d", m)
	}
	// Interrupted before its first update, it has changed nothing but config.yaml.
	before := digest(t, dir)
	stopped, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = run.Train(stopped)
	require.NoError(t, err)
	require.NoError(t, run.Close())
	assert.Equal(t, before, digest(t, dir))

	run, err = Resume(dir, nil, Options{})
	require.NoError(t, err)
	defer run.Close()
	assert.Equal(t, float32(0.5), run.hyper[0][1])
	s, err := run.Train(context.Background())
	require.NoError(t, err)
	assert.EqualValues(t, 16, s.Updates)
	assert.Contains(t, read(t, dir, "config.yaml"), "gamma: 0.5")
}

// A checkpoint of another environment, put where one of this run belongs.
func TestCheckpointOfAnotherEnvironment(t *testing.T) {
	dir, other := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	trainUntil(t, func(o Options) (*Run, error) { o.Dir = dir; return New(smallConfig(t), o) }, 2)
	acrobot := smallConfig(t, "env.id=Acrobot-v1")
	trainUntil(t, func(o Options) (*Run, error) { o.Dir = other; return New(acrobot, o) }, 2)
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "checkpoints")))
	require.NoError(t, os.Rename(filepath.Join(other, "checkpoints"), filepath.Join(dir, "checkpoints")))
	_, err := Resume(dir, nil, Options{})
	require.ErrorIs(t, err, ErrConfig)
	assert.Contains(t, err.Error(), "env.id: CartPole-v1 cannot be resumed: the run was made with Acrobot-v1")
}

func TestFindChoosesTheBestMember(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a")
	trainUntil(t, func(o Options) (*Run, error) { o.Dir = dir; return New(smallConfig(t), o) }, 4)
	stored, err := Find(dir)
	require.NoError(t, err)
	for m := range 4 {
		c, err := ckpt.ReadFile(ckpt.OS, filepath.Join(dir, "checkpoints", "00000004", ckpt.MemberFile(m)))
		require.NoError(t, err)
		assert.LessOrEqual(t, c.Performance, stored.Performance)
	}
	s := trainUntil(t, func(o Options) (*Run, error) { return Resume(dir, nil, o) }, -1)
	stored, err = Find(dir)
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(dir, "best.ckpt"), stored.Path)
	assert.Equal(t, s.Best.MeanReturn, stored.Performance)

	// What the folder's best plays is what the run said it plays.
	cfg := smallConfig(t)
	played, _, err := stored.Evaluate("cpu", 5, 3)
	require.NoError(t, err)
	again, _, err := stored.Evaluate("cpu", 5, 3)
	require.NoError(t, err)
	assert.Equal(t, played, again)
	assert.Equal(t, 5, played.Episodes)
	_, _, err = stored.Evaluate("cpu", 0, 3)
	require.ErrorIs(t, err, ErrConfig)
	assert.Equal(t, cfg.Env.ID, stored.Env.ID)
	assert.Equal(t, digest(t, filepath.Join(dir, "checkpoints", "00000012")), digest(t, dir))
	assert.NotEqual(t, digest(t, stored.Path), digest(t, dir), "one member is not the population")

	_, err = Find(filepath.Join(dir, "nowhere"))
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = Find(t.TempDir())
	require.ErrorIs(t, err, ErrNoCheckpoint)
}

func TestEngineErrorEndsTheRun(t *testing.T) {
	run, err := New(smallConfig(t), Options{Dir: filepath.Join(t.TempDir(), "a")})
	require.NoError(t, err)
	require.NoError(t, run.engine.Close())
	_, err = run.Train(context.Background())
	require.Error(t, err)
	assert.True(t, strings.HasPrefix(err.Error(), "train: update 1: "), err.Error())
	require.NoError(t, errors.Join(run.Close(), run.Close()), "Close may be called twice")
}
