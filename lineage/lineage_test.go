package lineage

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"brood/pbt"
	"brood/train"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// copying is an exploit of a hand-made run; learning rates are made from it.
type copying struct {
	update         int64
	member, source int
}

// after is the learning rate that a hand-made exploit ends with.
func (c copying) after() float64 { return float64(c.update)*1e-5 + float64(c.member)*1e-7 }

// handMade writes a run folder of p members with these exploits, in their order.
func handMade(t require.TestingT, dir string, p int, copyings []copying, change func(*train.Config)) {
	cfg := train.DefaultConfig()
	cfg.PBT.PopulationSize, cfg.PBT.PerturbationInterval = p, 10
	cfg.Env.Count, cfg.PPO.Steps, cfg.Run.TotalSteps = 4, 16, int64(p)*4*16*100
	if change != nil {
		change(&cfg)
	}
	text, err := cfg.YAML()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.yaml"), text, 0o644))
	scheduler, err := pbt.NewScheduler(cfg.PBT, cfg.Run.Seed)
	require.NoError(t, err)
	rates := make([]float64, p)
	for m, x := range scheduler.Population() {
		rates[m] = x.Hyperparameters["learning_rate"]
	}
	var lines strings.Builder
	old := rates
	for i, c := range copyings {
		if i == 0 || c.update != copyings[i-1].update {
			old = slices.Clone(rates)
		}
		rates[c.member] = c.after()
		fmt.Fprintf(&lines, `{"update":%d,"env_steps":0,"interval":%d,"member":%d,"source":%d,"member_score":%d,"source_score":null,`+
			`"optimizer_strategy":"reset","configured_strategy":"adaptive","hyperparameters":{"learning_rate":{"before":%v,"source":%v,"operation":"perturb up","after":%v}},"outcome":null}    `+"\n",
			c.update, c.update/10-1, c.member, c.source, c.member, old[c.member], old[c.source], c.after())
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "decisions.jsonl"), []byte(lines.String()), 0o644))
}

// mixed has a swap, and members that are copied and copy in the same interval.
var mixed = []copying{
	{10, 0, 1}, {10, 1, 0}, {10, 2, 1}, // 2 copies what 1 was before it copied
	{20, 2, 0}, {20, 3, 2}, // 3 copies what 2 was before
	{30, 0, 3},
}

func readMixed(t *testing.T) *Tree {
	t.Helper()
	dir := t.TempDir()
	handMade(t, dir, 4, mixed, nil)
	tree, err := Read(dir)
	require.NoError(t, err)
	require.Empty(t, tree.Warnings)
	return tree
}

func TestLivesOfSwapsAndChains(t *testing.T) {
	tree := readMixed(t)
	var got [][5]int64
	for id, l := range tree.Lives {
		require.Equal(t, id, l.ID)
		got = append(got, [5]int64{int64(l.Member), l.Born, l.Ended, int64(l.Parent), int64(tree.LivingDescendants()[id])})
	}
	require.Equal(t, [][5]int64{
		{0, 0, 10, None, 1}, {1, 0, 10, None, 3}, {2, 0, 10, None, 0}, {3, 0, 20, None, 0},
		{0, 10, 30, 1, 1}, {1, 10, None, 0, 1}, {2, 10, 20, 1, 2},
		{2, 20, None, 4, 1}, {3, 20, None, 6, 2},
		{0, 30, None, 8, 1},
	}, got)
	require.Equal(t, Summary{Exploits: 6, SurvivingRoots: 2, Depth: 3}, tree.Summary())
	require.Equal(t, []int{9, 5, 7, 8}, tree.Current)
	for m, want := range [][]int{{1, 6, 8, 9}, {0, 5}, {1, 4, 7}, {1, 6, 8}} {
		ancestry, err := tree.Ancestry(m)
		require.NoError(t, err)
		require.Equal(t, want, ancestry, "member %d", m)
	}
	slot, err := tree.Slot(0)
	require.NoError(t, err)
	require.Equal(t, []int{0, 4, 9}, slot)
	around, err := tree.Around(0)
	require.NoError(t, err)
	require.Equal(t, []int{0, 1, 4, 6, 8, 9}, around)
}

func TestHistories(t *testing.T) {
	tree := readMixed(t)
	type value struct {
		update int64
		member int
		rate   float64
	}
	values := func(steps []Step, err error) (list []value) {
		require.NoError(t, err)
		for i, s := range steps {
			list = append(list, value{s.Update, s.Member, s.Hyperparameters["learning_rate"]})
			require.Equal(t, s.Member, tree.Lives[s.Life].Member)
			require.Equal(t, i == 0, s.Operations == nil)
			require.True(t, i == 0 || s.Operations["learning_rate"] == "perturb up")
		}
		return list
	}
	start := func(m int) float64 { return tree.Lives[m].Hyperparameters["learning_rate"] }
	require.Equal(t, []value{{0, 1, start(1)}, {10, 2, mixed[2].after()}, {20, 3, mixed[4].after()}, {30, 0, mixed[5].after()}},
		values(tree.AncestryHistory(0)))
	require.Equal(t, []value{{0, 0, start(0)}, {10, 0, mixed[0].after()}, {30, 0, mixed[5].after()}}, values(tree.SlotHistory(0)))
	require.Equal(t, []value{{0, 3, start(3)}, {20, 3, mixed[4].after()}}, values(tree.SlotHistory(3)))

	schedule, err := tree.Schedule(2)
	require.NoError(t, err)
	require.Equal(t, []train.ScheduledValue{{Update: 0, Name: "learning_rate", Value: start(1)},
		{Update: 10, Name: "learning_rate", Value: mixed[0].after()}, {Update: 20, Name: "learning_rate", Value: mixed[3].after()}}, schedule)
	for _, member := range []int{-1, 4} {
		for _, ask := range []func(int) error{
			func(m int) error { _, err := tree.Ancestry(m); return err },
			func(m int) error { _, err := tree.AncestryHistory(m); return err },
			func(m int) error { _, err := tree.SlotHistory(m); return err },
			func(m int) error { _, err := tree.Around(m); return err },
			func(m int) error { _, err := tree.Replay(train.DefaultConfig(), m, 0); return err },
		} {
			require.ErrorIs(t, ask(member), ErrMember)
			require.ErrorContains(t, ask(member), "0 to 3")
		}
	}
}

// Values of run.schedule apply to all lives, after the exploits of their update.
func TestScheduleOfTheRunItself(t *testing.T) {
	dir := t.TempDir()
	handMade(t, dir, 4, mixed, func(c *train.Config) {
		c.PPO.Gamma = 0.5
		c.Run.Schedule = []train.ScheduledValue{{Update: 5, Name: "gamma", Value: 0.6}, {Update: 20, Name: "gamma", Value: 0.7},
			{Update: 20, Name: "clip_range", Value: 0.3}, {Update: 50, Name: "gamma", Value: 0.8}}
	})
	tree, err := Read(dir)
	require.NoError(t, err)
	require.Equal(t, []string{"learning_rate", "gamma", "clip_range"}, tree.Names)
	history := func(steps []Step, err error) (list [][3]float64) {
		require.NoError(t, err)
		for _, s := range steps {
			list = append(list, [3]float64{float64(s.Update), s.Hyperparameters["gamma"], s.Hyperparameters["clip_range"]})
		}
		return list
	}
	clip := float64(float32(0.2))
	require.Equal(t, [][3]float64{{0, 0.5, clip}, {5, 0.6, clip}, {10, 0.6, clip}, {20, 0.7, 0.3}, {30, 0.7, 0.3}, {50, 0.8, 0.3}},
		history(tree.AncestryHistory(0)))
	require.Equal(t, [][3]float64{{0, 0.5, clip}, {5, 0.6, clip}, {10, 0.6, clip}, {20, 0.7, 0.3}, {50, 0.8, 0.3}}, history(tree.SlotHistory(2)))
	schedule, err := tree.Schedule(0)
	require.NoError(t, err)
	require.Equal(t, []train.ScheduledValue{{Update: 0, Name: "learning_rate", Value: tree.Lives[1].Hyperparameters["learning_rate"]},
		{Update: 0, Name: "gamma", Value: 0.5}, {Update: 0, Name: "clip_range", Value: clip}, {Update: 5, Name: "gamma", Value: 0.6},
		{Update: 10, Name: "learning_rate", Value: mixed[2].after()}, {Update: 20, Name: "learning_rate", Value: mixed[4].after()},
		{Update: 20, Name: "gamma", Value: 0.7}, {Update: 20, Name: "clip_range", Value: 0.3},
		{Update: 30, Name: "learning_rate", Value: mixed[5].after()}, {Update: 50, Name: "gamma", Value: 0.8}}, schedule)
}

// The tree against a model that carries each member's way along with its weights.
func TestAncestryEqualsAModel(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.IntRange(2, 9).Draw(t, "members")
		type station struct {
			member int
			born   int64
		}
		ways := make([][]station, p)
		for m := range ways {
			ways[m] = []station{{m, 0}}
		}
		var copyings []copying
		for interval := range rapid.IntRange(0, 8).Draw(t, "intervals") {
			update := int64(10 * (interval + 1))
			old := slices.Clone(ways)
			for m := range p {
				source := rapid.IntRange(0, p-1).Draw(t, "source")
				if source == m { // does not copy
					continue
				}
				copyings = append(copyings, copying{update, m, source})
				ways[m] = append(slices.Clone(old[source]), station{m, update})
			}
		}
		handMade(t, dir, p, copyings, nil)
		tree, err := Read(dir)
		require.NoError(t, err)
		require.Empty(t, tree.Warnings)
		roots, total := map[int]bool{}, 0
		for m := range p {
			ancestry, err := tree.Ancestry(m)
			require.NoError(t, err)
			var way []station
			for _, id := range ancestry {
				way = append(way, station{tree.Lives[id].Member, tree.Lives[id].Born})
			}
			require.Equal(t, ways[m], way, "member %d", m)
			roots[way[0].member] = true
			slot, err := tree.Slot(m)
			require.NoError(t, err)
			total += len(slot)
		}
		require.Equal(t, len(roots), tree.Summary().SurvivingRoots)
		require.Equal(t, len(copyings), tree.Summary().Exploits)
		require.Equal(t, len(tree.Lives), total, "every life is in one slot")
	})
}

func TestReadRefusesAndSays(t *testing.T) {
	lines := func(t *testing.T, dir string) []string {
		text, err := os.ReadFile(filepath.Join(dir, "decisions.jsonl"))
		require.NoError(t, err)
		return strings.SplitAfter(strings.TrimSuffix(string(text), "\n"), "\n")
	}
	replace := func(old, new string) func(string) string {
		return func(s string) string { return strings.Replace(s, old, new, 1) }
	}
	for name, test := range map[string]struct {
		line   int
		change func(string) string
		want   string
	}{
		"no JSON":             {3, func(string) string { return "{\n" }, "decisions.jsonl:3: "},
		"member out of range": {2, replace(`"member":1`, `"member":4`), "decisions.jsonl:2: member 4, but the population has members 0 to 3"},
		"source out of range": {4, replace(`"source":0`, `"source":9`), "decisions.jsonl:4: member 9"},
		"twice at once":       {2, replace(`"member":1,"source":0`, `"member":0,"source":3`), "decisions.jsonl:2: member 0 copies a second time at update 10"},
		"no value":            {5, replace(`"learning_rate":`, `"gamma":`), "decisions.jsonl:5: the hyperparameter learning_rate is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			handMade(t, dir, 4, mixed, nil)
			all := lines(t, dir)
			all[test.line-1] = test.change(all[test.line-1])
			require.NoError(t, os.WriteFile(filepath.Join(dir, "decisions.jsonl"), []byte(strings.Join(all, "")+"\n"), 0o644))
			_, err := Read(dir)
			require.ErrorContains(t, err, test.want)
		})
	}
	t.Run("no folder", func(t *testing.T) {
		_, err := Read(filepath.Join(t.TempDir(), "nowhere"))
		require.ErrorIs(t, err, os.ErrNotExist)
	})
	t.Run("cut", func(t *testing.T) {
		dir := t.TempDir()
		handMade(t, dir, 4, mixed, nil)
		all := lines(t, dir)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "decisions.jsonl"), []byte(strings.Join(all[:5], "")+all[5][:40]), 0o644))
		tree, err := Read(dir)
		require.NoError(t, err)
		require.Len(t, tree.Lives, 4+5)
		require.Len(t, tree.Warnings, 1)
		require.Contains(t, tree.Warnings[0], "ends in the middle of a line")
	})
	t.Run("contradiction", func(t *testing.T) {
		dir := t.TempDir()
		handMade(t, dir, 4, mixed, nil)
		all := lines(t, dir)
		all[5] = strings.Replace(all[5], `"before":`, `"before":1`, 1)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "decisions.jsonl"), []byte(strings.Join(all, "")+"\n"), 0o644))
		tree, err := Read(dir)
		require.NoError(t, err)
		require.Len(t, tree.Warnings, 1)
		require.Contains(t, tree.Warnings[0], "decisions.jsonl:6: member 0 has learning_rate 1")
	})
}

// A resumed run may have been given other ranges; it did not draw from them.
func TestFirstValuesComeFromTheMetricsWhereTheConfigurationChanged(t *testing.T) {
	dir := t.TempDir()
	handMade(t, dir, 2, nil, nil)
	tree, err := Read(dir)
	require.NoError(t, err)
	metrics := ""
	for m := range 2 {
		metrics += fmt.Sprintf(`{"update":1,"member":%d,"train_return":null,"learning_rate":%v}`+"\n", m, float32(tree.Lives[m].Hyperparameters["learning_rate"]))
	}
	write := func(text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "metrics.jsonl"), []byte(text), 0o644))
	}
	write(metrics + metrics[:20])
	same, err := Read(dir)
	require.NoError(t, err)
	require.Empty(t, same.Warnings)
	require.Equal(t, tree.Lives, same.Lives, "in double precision")

	handMade(t, dir, 2, nil, func(c *train.Config) {
		c.PBT.Hyperparameters = []pbt.Hyperparameter{pbt.LogRange("learning_rate", 0.5, 0.9)}
	})
	other, err := Read(dir)
	require.NoError(t, err)
	require.Len(t, other.Warnings, 1)
	for m := range 2 {
		require.Equal(t, slices.Sorted(maps.Keys(tree.Lives[m].Hyperparameters)), slices.Sorted(maps.Keys(other.Lives[m].Hyperparameters)))
		require.Equal(t, float32(tree.Lives[m].Hyperparameters["learning_rate"]), float32(other.Lives[m].Hyperparameters["learning_rate"]))
	}
	write(strings.Replace(metrics, `"member":1`, `"member":7`, 1))
	_, err = Read(dir)
	require.ErrorContains(t, err, "metrics.jsonl:2: is not of update 1 and member 1")
	write("{}}\n")
	_, err = Read(dir)
	require.ErrorContains(t, err, "metrics.jsonl:1: ")
}
