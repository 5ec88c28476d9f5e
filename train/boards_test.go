package train

import (
	"bufio"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"brood/ckpt"
	"brood/internal/pyenv"
	"brood/telemetry/tensorboard"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// readBoards reads a folder as TensorBoard does: every run's scalars, and the table of
// the HPARAMS tab. It lists the distinct steps of a series in the order it has them.
const readBoards = `
import json, logging, os, sys, types
logging.disable(logging.CRITICAL)
from tensorboard.backend.event_processing import data_provider, event_accumulator, plugin_event_multiplexer
from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups, get_experiment
from tensorboard import context

root = sys.stdin.read()
out = {"runs": {}, "sessions": {}, "columns": [], "metrics": []}
for run in sorted(os.listdir(root)):
    a = event_accumulator.EventAccumulator(os.path.join(root, run), size_guidance={"scalars": 0})
    a.Reload()
    out["runs"][run] = {tag: [[e.step, e.value, e.wall_time] for e in a.Scalars(tag)] for tag in a.Tags()["scalars"]}
m = plugin_event_multiplexer.EventMultiplexer(size_guidance={"tensors": 0})
m.AddRunsFromDirectory(root)
m.Reload()
provider = data_provider.MultiplexerDataProvider(m, root)
ctx, request = backend_context.Context(types.SimpleNamespace(data_provider=provider)), context.RequestContext()
experiment = get_experiment.Handler(request, ctx, "", api_pb2.GetExperimentRequest()).run()
out["columns"] = [[i.name, i.domain_interval.min_value, i.domain_interval.max_value] for i in experiment.hparam_infos]
out["metrics"] = [i.name.tag for i in experiment.metric_infos]
groups = list_session_groups.Handler(request, ctx, "", api_pb2.ListSessionGroupsRequest(
    start_index=0, slice_size=1000, allowed_statuses=[0, 1, 2, 3],
    col_params=[api_pb2.ColParams(metric=i.name) for i in experiment.metric_infos])).run()
for g in groups.session_groups:
    for s in g.sessions:
        out["sessions"][s.name] = {"status": s.status, "hparams": {k: v.number_value for k, v in g.hparams.items()},
            "metrics": {v.name.tag: [v.value, v.training_step] for v in s.metric_values}}
json.dump(out, sys.stdout)
`

type boardsRead struct {
	Runs     map[string]map[string][][3]float64
	Columns  [][3]any
	Metrics  []string
	Sessions map[string]struct {
		Status  int
		Hparams map[string]float64
		Metrics map[string][2]float64
	}
}

func readTensorBoard(t *testing.T, dir string) (b boardsRead) {
	t.Helper()
	require.NoError(t, json.Unmarshal(pyenv.RunTensorBoard(t, readBoards, []byte(dir)), &b))
	return b
}

// metricLines are the figures of metrics.jsonl by member, in their order.
func metricLines(t *testing.T, dir string) map[int][]map[string]*float64 {
	t.Helper()
	lines := map[int][]map[string]*float64{}
	s := bufio.NewScanner(strings.NewReader(read(t, dir, "metrics.jsonl")))
	for s.Scan() {
		var line map[string]*float64
		require.NoError(t, json.Unmarshal(s.Bytes(), &line))
		m := int(*line["member"])
		lines[m] = append(lines[m], line)
	}
	return lines
}

// checkBoards holds every series against metrics.jsonl: the same steps, once each, and
// the same figures in single precision.
func checkBoards(t *testing.T, dir string, b boardsRead) {
	t.Helper()
	for m, lines := range metricLines(t, dir) {
		run := b.Runs[boardRun(m)]
		seen := 0
		for name := range lines[0] {
			if name == "update" || name == "env_steps" || name == "member" {
				continue
			}
			tag := boardTag(name).Name()
			if name == "clip_range" {
				tag = "hyperparameter/" + name
			}
			var want [][2]float64
			for _, line := range lines {
				if line[name] != nil {
					want = append(want, [2]float64{*line["env_steps"], float64(float32(*line[name]))})
				}
			}
			var got [][2]float64
			for _, p := range run[tag] {
				got = append(got, [2]float64{p[0], p[1]})
				require.InDelta(t, float64(time.Now().Unix()), p[2], 3600, "wall time")
			}
			require.Equal(t, want, got, "member %d, %s", m, tag)
			seen++
		}
		require.Equal(t, len(run), seen+1, "every series but the best return is a metric")
	}
}

// A run that was killed after its checkpoint and went on shows every point once, and
// the tab of hyperparameters every member, to TensorBoard itself.
func TestTensorBoardReadsARunThatWasKilled(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a")
	run, err := New(smallConfig(t, "pbt.metric_mode=min"), Options{Dir: dir}) // the lowest returns are the first
	require.NoError(t, err)
	run.begun, run.started = 0, time.Now()
	for range 7 {
		require.NoError(t, run.update(t.Context()))
		if run.updates == 5 {
			require.NoError(t, run.save())
		}
	}
	require.NoError(t, run.Close()) // without a checkpoint of updates 6 and 7
	killed := filepath.Join(t.TempDir(), "killed")
	require.NoError(t, os.CopyFS(killed, os.DirFS(filepath.Join(dir, boardsDir))))

	trainUntil(t, func(o Options) (*Run, error) { return Resume(dir, nil, o) }, -1)
	b := readTensorBoard(t, filepath.Join(dir, boardsDir))
	require.Len(t, b.Runs, 5)
	checkBoards(t, dir, b)
	require.Len(t, b.Runs["population"]["population/exploits"], 12)
	require.Len(t, b.Runs["population"]["population/env_steps_per_second"], 12)

	s, err := os.ReadFile(filepath.Join(dir, "summary.json"))
	require.NoError(t, err)
	var summary Summary
	require.NoError(t, json.Unmarshal(s, &summary))
	require.Len(t, b.Sessions, 4)
	assert.ElementsMatch(t, [][3]any{{"learning_rate", 1e-4, 1e-2}, {"clip_range", 0.05, 0.4}}, b.Columns)
	for m, lines := range metricLines(t, dir) {
		session := b.Sessions[boardRun(m)]
		assert.Equal(t, summary.Members[m].Hyperparameters, session.Hparams)
		assert.Equal(t, 1, session.Status, "success")
		last, best := lines[len(lines)-1]["train_return"], math.Inf(1)
		for _, line := range lines {
			if line["train_return"] != nil {
				best = min(best, *line["train_return"])
			}
		}
		assert.Equal(t, [2]float64{float64(float32(*last)), 3072}, session.Metrics["return/train_return"])
		assert.Equal(t, [2]float64{float64(float32(best)), 3072}, session.Metrics["return/best_so_far"], "also what was before the checkpoint counts")
	}

	// Whoever looked on has points of the updates that were trained again; the mark of
	// the new process makes it drop them.
	require.NoError(t, filepath.WalkDir(killed, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == sessionFile {
			return err
		}
		rel, err := filepath.Rel(killed, path)
		require.NoError(t, err)
		had, now := read(t, path), read(t, dir, boardsDir, rel)
		require.Greater(t, len(had), len(now))
		require.True(t, strings.HasPrefix(had, now))
		return os.WriteFile(filepath.Join(dir, boardsDir, rel), []byte(had), 0o644)
	}))
	checkBoards(t, dir, readTensorBoard(t, filepath.Join(dir, boardsDir)))
}

// boardSteps are the steps of the points in all files of a run, as they stand there.
func boardSteps(t *testing.T, dir, run string) (steps []int64) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, boardsDir, run, "events.out.tfevents.*"))
	require.NoError(t, err)
	for _, name := range names {
		f, err := os.Open(name)
		require.NoError(t, err)
		_, err = tensorboard.Read(f, func(e *tensorboard.Event, _ int64) error {
			if e.Scalars != nil {
				steps = append(steps, e.Step)
			}
			return nil
		})
		require.NoError(t, errors.Join(err, f.Close()))
	}
	return steps
}

// Also without TensorBoard: resumed any number of times, smaller and larger, no file
// holds a point twice, and processes that did nothing leave none.
func TestBoardsAfterManyResumes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a")
	trainUntil(t, func(o Options) (*Run, error) { o.Dir = dir; return New(smallConfig(t, "checkpoint.every=0"), o) }, 3)
	for _, x := range []struct {
		until int64
		set   string
	}{{5, "run.threads=1"}, {6, "pbt.population_size=3"}, {7, "pbt.population_size=5"}, {-1, "run.threads=1"}} {
		settings, err := ParseSettings([]string{x.set})
		require.NoError(t, err)
		idle, err := Resume(dir, nil, Options{})
		require.NoError(t, err)
		require.NoError(t, idle.Close())
		trainUntil(t, func(o Options) (*Run, error) { return Resume(dir, settings, o) }, x.until)
		if x.until == 6 {
			require.NoFileExists(t, filepath.Join(dir, boardsDir, "member-003", sessionFile), "who is gone is no row")
		}
	}
	for m, lines := range metricLines(t, dir) {
		var want []int64
		for _, line := range lines {
			want = append(want, int64(*line["env_steps"]))
		}
		require.Equal(t, want, boardSteps(t, dir, boardRun(m)), "member %d", m)
	}
	names, err := filepath.Glob(filepath.Join(dir, boardsDir, "member-000", "*"))
	require.NoError(t, err)
	require.Len(t, names, 1+5, "the hyperparameters, and a file of each process that trained")
}

// fullBoards refuses to write event files while full says so.
type fullBoards struct {
	ckpt.FS
	full func() bool
}

type fullLog struct {
	ckpt.LogFile
	full func() bool
}

func (d fullBoards) OpenLog(path string) (ckpt.LogFile, error) {
	f, err := d.FS.OpenLog(path)
	if err == nil && strings.Contains(path, boardsDir) {
		f = fullLog{f, d.full}
	}
	return f, err
}

// WriteAt leaves half of it, as a disk that becomes full does.
func (f fullLog) WriteAt(p []byte, offset int64) (int, error) {
	if f.full() {
		n, err := f.LogFile.WriteAt(p[:len(p)/2], offset)
		if err == nil {
			err = syscall.ENOSPC
		}
		return n, err
	}
	return f.LogFile.WriteAt(p, offset)
}

func TestFullDiskOfTheBoards(t *testing.T) {
	full := true
	var warnings []string
	dir := filepath.Join(t.TempDir(), "a")
	opts := Options{Dir: dir, FS: fullBoards{ckpt.OS, func() bool { return full }}, Warn: func(w string) { warnings = append(warnings, w) }}
	run, err := New(smallConfig(t), opts)
	require.NoError(t, err)
	defer run.Close()
	run.started = time.Now()
	for update := range 12 {
		full = update < 8
		require.NoError(t, run.update(t.Context()))
		run.boards.flush(time.Now(), false)
	}
	require.NoError(t, run.Close())
	require.Len(t, warnings, 1, "told once")
	assert.Contains(t, warnings[0], "no space left on device; its points wait in memory")
	assert.Len(t, boardSteps(t, dir, "member-003"), 12, "nothing was lost")

	// A disk that stays full costs the points and nothing else.
	full, warnings = true, nil
	opts.Dir = filepath.Join(t.TempDir(), "b")
	s := trainNew(t, smallConfig(t), opts)
	assert.EqualValues(t, 12, s.Updates)
	assert.Len(t, warnings, 1)
	assert.Equal(t, wholeDigest(t), digest(t, opts.Dir))
}

func TestNoBoardsWhereTheyAreSwitchedOff(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a")
	trainNew(t, smallConfig(t, "telemetry.tensorboard=false"), Options{Dir: dir})
	require.NoDirExists(t, filepath.Join(dir, boardsDir))
}

// A series stays small however long the run is, and never has a gap of more than its
// five hundredth.
func TestBoardsStaySmall(t *testing.T) {
	points, last := 0, int64(0)
	for update := int64(1); update <= 10_000_000; update++ {
		if boardDue(update) {
			require.LessOrEqual(t, update-last, max(1, update/500))
			points, last = points+1, update
		}
		switch update {
		case 1000:
			require.Equal(t, 1000, points)
		case 10_000:
			require.Less(t, points, 3000)
		}
	}
	require.Less(t, points, 8000)
}

// What the event files cost beside an update of 64 members: `go test ./train -run none
// -bench Boards` reports the share of the training time, writing included.
func BenchmarkBoards(b *testing.B) {
	cfg, err := Load("bench", []byte(`
env: {id: CartPole-v1, count: 32}
ppo: {steps: 128}
pbt: {population_size: 64}
run: {total_steps: 1e12, device: cpu}
`), nil)
	require.NoError(b, err)
	run, err := New(cfg, Options{Dir: filepath.Join(b.TempDir(), "a")})
	require.NoError(b, err)
	defer run.Close()
	var training, showing time.Duration
	for b.Loop() {
		began := time.Now()
		require.NoError(b, run.engine.Iterate(run.stats))
		run.updates++
		trained := time.Now()
		run.boards.show()
		training += trained.Sub(began)
		showing += time.Since(trained)
	}
	began := time.Now()
	run.boards.flush(began, true)
	showing += time.Since(began)
	b.ReportMetric(100*showing.Seconds()/training.Seconds(), "%of-training")
	b.ReportMetric(float64(showing.Microseconds())/float64(b.N), "us/update")
}
