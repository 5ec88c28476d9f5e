package lineage

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"brood/ckpt"
	"brood/kernels"
	"brood/tensor"
	"brood/train"

	"github.com/stretchr/testify/require"
)

// tiny is a run in which binary tournaments let members be copied and copy in the
// same interval. It keeps a checkpoint of every update.
const tiny = `
env: {id: CartPole-v1, count: 4}
policy: {hidden: [8]}
ppo: {steps: 16, epochs: 1, minibatches: 2, learning_rate_schedule: linear}
pbt:
  population_size: 8
  perturbation_interval: 2
  ready_percentage: 0.5
  exploit_method: binary_tournament
  hyperparameters:
    - {name: learning_rate, min: 1e-4, max: 1e-2, log_scale: true}
    - {name: clip_range, min: 0.05, max: 0.4}
checkpoint: {every: 1, keep: 100}
run: {total_steps: 6144, seed: 3, selection_episodes: 1, device: cpu}
`

// trainRun trains a run to its end.
func trainRun(t *testing.T, cfg train.Config, o train.Options) {
	t.Helper()
	run, err := train.New(cfg, o)
	require.NoError(t, err)
	defer run.Close()
	_, err = run.Train(context.Background())
	require.NoError(t, err)
	require.NoError(t, run.Close())
}

// storedMember is a member of the checkpoint of an update, which is written after
// the update's exploits.
func storedMember(t *testing.T, dir string, layout *tensor.Layout, update int64, member int) tensor.Member {
	t.Helper()
	c, err := ckpt.ReadFile(ckpt.OS, filepath.Join(dir, "checkpoints", ckpt.SetName(update), ckpt.MemberFile(member)))
	require.NoError(t, err)
	state := tensor.NewMember(layout)
	_, err = c.Restore(state)
	require.NoError(t, err)
	return state
}

// metricsOf reads a run's metrics by update and member.
func metricsOf(t *testing.T, dir string) map[int64]map[int]map[string]*float64 {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "metrics.jsonl"))
	require.NoError(t, err)
	by := map[int64]map[int]map[string]*float64{}
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		var m map[string]*float64
		require.NoError(t, json.Unmarshal([]byte(line), &m))
		update := int64(*m["update"])
		if by[update] == nil {
			by[update] = map[int]map[string]*float64{}
		}
		by[update][int(*m["member"])] = m
	}
	return by
}

// The family of a real run against the states of its members: a life begins with the
// weights that its parent's member had before any exploit of the interval. And the
// replay of every member has, update by update, the values of its ancestry.
func TestRealRun(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	cfg, err := train.Load("tiny.yaml", []byte(tiny), nil)
	require.NoError(t, err)
	require.EqualValues(t, 12, cfg.TotalUpdates())

	// before are the weights by update and member, before the exploits of the update.
	before := map[int64][][]float32{}
	var layout *tensor.Layout
	roots := []int{0, 1, 2, 3, 4, 5, 6, 7}
	chains := 0
	trainRun(t, cfg, train.Options{Dir: dir, BeforeExploit: func(m *train.Moment) error {
		layout = m.Layout()
		for member := range cfg.PBT.PopulationSize {
			state := tensor.NewMember(layout)
			if err := m.State(member, state); err != nil {
				return err
			}
			before[m.Update] = append(before[m.Update], state.Floats("policy"))
		}
		old := slices.Clone(roots)
		copies := map[int]bool{}
		for _, d := range m.Decisions {
			roots[d.Member] = old[d.Source]
			copies[d.Member] = true
		}
		for _, d := range m.Decisions {
			if copies[d.Source] {
				chains++
			}
		}
		return nil
	}})
	require.Positive(t, chains, "a member was copied and copied another at once")

	tree, err := Read(dir)
	require.NoError(t, err)
	require.Empty(t, tree.Warnings)
	for m, root := range roots {
		ancestry, err := tree.Ancestry(m)
		require.NoError(t, err)
		require.Equal(t, root, tree.Lives[ancestry[0]].Member)
	}
	for _, l := range tree.Lives {
		if l.Parent == None {
			continue
		}
		parent := tree.Lives[l.Parent]
		require.True(t, parent.Born < l.Born && (parent.Ended == None || parent.Ended >= l.Born), "the parent lived when it was copied")
		got := storedMember(t, dir, layout, l.Born, l.Member).Floats("policy")
		require.NotEmpty(t, got)
		require.Equal(t, before[l.Born][parent.Member], got, "life %d", l.ID)
		require.NotEqual(t, before[l.Born][l.Member], got, "life %d", l.ID)
	}
	checkReplays(t, tree, dir)
}

func checkReplays(t *testing.T, tree *Tree, dir string) {
	original := metricsOf(t, dir)
	for member := range tree.Population {
		cfg, err := train.LoadRun(dir)
		require.NoError(t, err)
		replay, err := tree.Replay(cfg, member, 0)
		require.NoError(t, err)
		require.EqualValues(t, 12, replay.TotalUpdates())
		out := filepath.Join(t.TempDir(), fmt.Sprint(member))
		trainRun(t, replay, train.Options{Dir: out})
		engine, err := replay.EngineConfig()
		require.NoError(t, err)
		layout, err := kernels.NewLayout(engine)
		require.NoError(t, err)

		ancestry, err := tree.Ancestry(member)
		require.NoError(t, err)
		now := metricsOf(t, out)
		at := func(update int64) int { // the member that held the weights in an update
			i := len(ancestry) - 1
			for tree.Lives[ancestry[i]].Born >= update {
				i--
			}
			return tree.Lives[ancestry[i]].Member
		}
		for update := int64(1); update <= 12; update++ {
			was := original[update][at(update)]
			require.Equal(t, *was["learning_rate"], *now[update][0]["learning_rate"], "member %d, update %d: as applied, after the linear schedule", member, update)
			if update > 1 { // the checkpoint before the update has its values
				clip := storedMember(t, out, layout, update-1, 0).Float32("hyperparameters", "clip_range")
				require.Equal(t, float32(*was["clip_range"]), clip[0], "member %d, update %d", member, update)
			}
		}

		again, err := train.LoadRun(out)
		require.NoError(t, err)
		require.Equal(t, replay.Run, again.Run, "config.yaml holds the schedule")
		// The family of the replay itself: one life with the values of the ancestry.
		single, err := Read(out)
		require.NoError(t, err)
		require.Len(t, single.Lives, 1)
		schedule, err := single.Schedule(0)
		require.NoError(t, err)
		require.Equal(t, replay.Run.Schedule, schedule)
	}
}
