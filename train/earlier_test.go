package train

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// chain changes the number of members of a run again and again. kill ends a process
// that has begun a part before its first checkpoint, and the part is begun anew.
func chain(t *testing.T, kill bool, threads int) string {
	dir := filepath.Join(t.TempDir(), "run")
	cfg := smallConfig(t, "checkpoint.every=0", fmt.Sprintf("run.threads=%d", threads), "pbt.optimizer_exploit_strategy=adaptive", "pbt.explore_method=both")
	trainUntil(t, func(o Options) (*Run, error) { o.Dir = dir; return New(cfg, o) }, 4)
	for _, part := range []struct {
		until int64
		p     int
	}{{6, 8}, {7, 2}, {11, 5}, {-1, 1}} {
		settings, err := ParseSettings([]string{fmt.Sprintf("pbt.population_size=%d", part.p), "run.total_steps=4000"})
		require.NoError(t, err)
		if kill {
			run, err := Resume(dir, settings, Options{})
			require.NoError(t, err)
			require.NoError(t, run.update(t.Context()))
			require.NoError(t, run.update(t.Context()))
			require.NoError(t, run.Close())
			settings = nil // config.yaml has them
		}
		trainUntil(t, func(o Options) (*Run, error) { return Resume(dir, settings, o) }, part.until)
	}
	return dir
}

// Killed or not, on any number of threads: the same bits, and the steps add up.
func TestChangedPopulationsAreReproducible(t *testing.T) {
	want := chain(t, false, 1)
	for _, got := range []string{chain(t, true, 1), chain(t, false, 3)} {
		assert.Equal(t, digest(t, want), digest(t, got))
		for _, file := range []string{metricsFile, decisionsFile} {
			assert.Equal(t, read(t, want, file), read(t, got, file), file)
		}
	}
	cfg, err := LoadRun(want)
	require.NoError(t, err)
	assert.Equal(t, []EarlierPart{{4, 4}, {6, 8}, {7, 2}, {11, 5}}, cfg.Run.Earlier)
	// 4 updates of 256, 2 of 512, 1 of 128 and 4 of 320 are 3456 steps; 9 of 64 make 4000.
	assert.EqualValues(t, 20, cfg.TotalUpdates())
	var summary Summary
	require.NoError(t, json.Unmarshal([]byte(read(t, want, summaryFile)), &summary))
	assert.EqualValues(t, 20, summary.Updates)
	assert.EqualValues(t, 3456+9*64, summary.EnvSteps)
	steps, before, members := int64(0), int64(0), map[int64]int{}
	for _, text := range strings.Split(strings.TrimSpace(read(t, want, metricsFile)), "\n") {
		var line struct {
			Update   int64
			EnvSteps int64 `json:"env_steps"`
		}
		require.NoError(t, json.Unmarshal([]byte(text), &line))
		if line.Update != before {
			steps, before = steps+int64(cfg.populationAt(line.Update))*64, line.Update
		}
		require.Equal(t, steps, line.EnvSteps)
		members[line.Update]++
	}
	for update, n := range members {
		assert.Equal(t, map[bool]int{update <= 4: 4, update > 4 && update <= 6: 8, update == 7: 2, update > 7 && update <= 11: 5, update > 11: 1}[true], n)
	}
}

// The linear schedule falls to 0 at the end of the run as it is now.
func TestScheduleOfALargerPopulation(t *testing.T) {
	dir := stoppedRun(t, 4, "pbt.hyperparameters=[]", "ppo.learning_rate=1e-3")
	r, _, _ := resumeWith(t, dir, "pbt.population_size=8")
	require.EqualValues(t, 8, r.total, "1024 steps are done, 1976 are left, 512 an update")
	var progress []Progress
	r.opts.Progress = func(p *Progress) { progress = append(progress, *p) }
	_, err := r.Train(t.Context())
	require.NoError(t, err)
	require.Len(t, progress, 4)
	assert.EqualValues(t, 1024+4*512, progress[3].EnvSteps)
	assert.EqualValues(t, 1024+4*512, progress[0].TotalSteps)
	assert.EqualValues(t, 4*512, progress[3].StepsThisProcess)
	lines := strings.Split(strings.TrimSpace(read(t, dir, metricsFile)), "\n")
	require.Len(t, lines, 4*4+4*8)
	for i, text := range lines[16:] {
		var line struct {
			LearningRate float64 `json:"learning_rate"`
		}
		require.NoError(t, json.Unmarshal([]byte(text), &line))
		assert.InDelta(t, 1e-3*(1-float64(4+i/8)/8), line.LearningRate, 1e-9, "line %d", i)
	}
}

func TestStepsOfEarlierParts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := DefaultConfig()
		cfg.PBT.PopulationSize = rapid.IntRange(1, 20).Draw(t, "population")
		cfg.Run.TotalSteps = rapid.Int64Range(1, 1<<22).Draw(t, "steps")
		at := int64(0)
		for range rapid.IntRange(0, 4).Draw(t, "parts") {
			at += rapid.Int64Range(1, 30).Draw(t, "updates")
			cfg.Run.Earlier = append(cfg.Run.Earlier, EarlierPart{at, rapid.IntRange(1, 20).Draw(t, "earlier")})
		}
		total := cfg.TotalUpdates()
		require.GreaterOrEqual(t, cfg.EnvSteps(total), cfg.Run.TotalSteps)
		require.Less(t, cfg.EnvSteps(total-1), cfg.Run.TotalSteps)
		sum := int64(0)
		for update := int64(1); update <= min(total, 150); update++ {
			sum += int64(cfg.populationAt(update)) * int64(cfg.PPO.Steps) * cfg.Env.Count
			require.Equal(t, sum, cfg.EnvSteps(update))
		}
	})
}

func TestPopulationChangesThatAreRefused(t *testing.T) {
	done := stoppedRun(t, -1)
	settings, err := ParseSettings([]string{"pbt.population_size=8"})
	require.NoError(t, err)
	_, err = Resume(done, settings, Options{})
	require.ErrorIs(t, err, ErrConfig)
	assert.Contains(t, err.Error(), "pbt.population_size: 8 after 4 has nothing to train: the run has done its 3072 steps; it needs a larger run.total_steps")
	_, _, _ = resumeWith(t, done, "pbt.population_size=8", "run.total_steps=6000")

	_, err = load(t, small, "run.earlier=[{updates: 3, population_size: 4}, {updates: 3, population_size: 0}]")
	require.ErrorIs(t, err, ErrConfig)
	assert.Contains(t, err.Error(), "run.earlier.1.updates: 3 is not valid: must be a number of updates from 4 to ")
	assert.Contains(t, err.Error(), "run.earlier.1.population_size: 0 is not valid: must be 1 to 65536")
}

// A configuration of a run that had other sizes begins anew with the present one.
func TestNewRunDropsEarlierParts(t *testing.T) {
	dir := stoppedRun(t, 4)
	r, _, _ := resumeWith(t, dir, "pbt.population_size=2")
	require.Len(t, r.Config().Run.Earlier, 1)
	cfg, err := LoadRun(dir)
	require.NoError(t, err)
	var warnings []string
	again, plain := filepath.Join(t.TempDir(), "again"), filepath.Join(t.TempDir(), "plain")
	trainNew(t, cfg, Options{Dir: again, Warn: func(w string) { warnings = append(warnings, w) }})
	require.Len(t, warnings, 1)
	assert.Contains(t, warnings[0], "run.earlier belongs to the run that the configuration is from; this one has 2 members from its start")
	two, err := load(t, small, "pbt.population_size=2")
	require.NoError(t, err)
	trainNew(t, two, Options{Dir: plain})
	assert.Equal(t, digest(t, plain), digest(t, again))
	assert.Equal(t, read(t, plain, configFile), read(t, again, configFile))
}

// Stopped before its first update, a run of another size begins anew.
func TestPopulationChangeBeforeTheFirstUpdate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	run, err := New(smallConfig(t), Options{Dir: dir})
	require.NoError(t, err)
	require.NoError(t, run.save())
	require.NoError(t, run.Close())
	r, notes, warnings := resumeWith(t, dir, "pbt.population_size=2")
	assert.Empty(t, notes)
	require.Len(t, warnings, 1)
	assert.Contains(t, warnings[0], "is of before the first update and has 4 members, the run now 2: the run begins anew from its seed")
	_, err = r.Train(t.Context())
	require.NoError(t, err)
	plain := filepath.Join(t.TempDir(), "plain")
	two, err := load(t, small, "pbt.population_size=2")
	require.NoError(t, err)
	trainNew(t, two, Options{Dir: plain})
	assert.Equal(t, digest(t, plain), digest(t, dir))
}

// Another number, given before anything was trained with the one before, replaces
// it; the checkpoint's own number undoes it.
func TestChangeOfAChange(t *testing.T) {
	begun := func(set ...string) string {
		dir := stoppedRun(t, 4)
		r, _, _ := resumeWith(t, dir, set...)
		require.NoError(t, r.Close())
		return dir
	}
	dir := begun("pbt.population_size=8")
	r, notes, _ := resumeWith(t, dir, "pbt.population_size=4")
	require.Empty(t, notes)
	require.Empty(t, r.cfg.Run.Earlier)
	_, err := r.Train(t.Context())
	require.NoError(t, err)
	assert.Equal(t, wholeDigest(t), digest(t, dir), "as if nothing had been")

	dir, straight := begun("pbt.population_size=8"), begun()
	for _, d := range []string{dir, straight} {
		r, notes, _ := resumeWith(t, d, "pbt.population_size=2")
		require.Len(t, notes, 1)
		assert.Contains(t, notes[0], "the checkpoint of update 4 has 4 members, the run now 2")
		require.Equal(t, []EarlierPart{{4, 4}}, r.cfg.Run.Earlier)
		_, err := r.Train(t.Context())
		require.NoError(t, err)
	}
	assert.Equal(t, digest(t, straight), digest(t, dir))
	assert.Equal(t, read(t, straight, decisionsFile), read(t, dir, decisionsFile))
}

// A run that falls back to a checkpoint of before a change makes it again there.
func TestFallBackOverAChange(t *testing.T) {
	var want string
	for _, damaged := range []bool{false, true} {
		dir := stoppedRun(t, 4)
		settings, err := ParseSettings([]string{"pbt.population_size=8"})
		require.NoError(t, err)
		trainUntil(t, func(o Options) (*Run, error) { return Resume(dir, settings, o) }, 5)
		if damaged {
			flip(t, filepath.Join(dir, checkpointsDir, "00000005", "run.ckpt"))
		}
		trainUntil(t, func(o Options) (*Run, error) { return Resume(dir, nil, o) }, -1)
		if want == "" {
			want = digest(t, dir)
		}
		assert.Equal(t, want, digest(t, dir))
	}
}
