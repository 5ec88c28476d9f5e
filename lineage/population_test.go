package lineage

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"brood/train"

	"github.com/stretchr/testify/require"
)

// changedRun is the folder of a run of 8 members, then 12, 3 and 5.
func changedRun(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	cfg, err := train.Load("tiny.yaml", []byte(tiny), nil)
	require.NoError(t, err)
	part := func(until int64, start func(train.Options) (*train.Run, error)) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		run, err := start(train.Options{Dir: dir, Progress: func(p *train.Progress) {
			if p.Update == until {
				cancel()
			}
		}})
		require.NoError(t, err)
		defer run.Close()
		_, err = run.Train(ctx)
		require.NoError(t, err)
		require.NoError(t, run.Close())
	}
	part(4, func(o train.Options) (*train.Run, error) { return train.New(cfg, o) })
	for _, p := range []struct {
		until int64
		size  string
	}{{7, "12"}, {10, "3"}, {-1, "5"}} {
		settings, err := train.ParseSettings([]string{"pbt.population_size=" + p.size})
		require.NoError(t, err)
		part(p.until, func(o train.Options) (*train.Run, error) { return train.Resume(dir, settings, o) })
	}
	return dir
}

// The family of a run whose population changed its size: at every update there live
// as many members as the metrics show, with the values that they show.
func TestFamilyOfChangedPopulations(t *testing.T) {
	dir := changedRun(t)
	tree, err := Read(dir)
	require.NoError(t, err)
	require.Empty(t, tree.Warnings)
	require.Equal(t, []Change{{4, 8, 12}, {7, 12, 3}, {10, 3, 5}}, tree.Changes)
	require.Equal(t, 8, tree.Start)
	require.Equal(t, 5, tree.Population)
	require.Len(t, tree.Current, 5)

	moves, fills := 0, 0
	for _, l := range tree.Lives[8:] {
		require.NotEqual(t, None, l.Parent)
		switch l.Exploit.Operation {
		case train.OperationMove:
			moves++
			require.Equal(t, tree.Lives[l.Parent].Ended, l.Born, "who moves is gone from where it was")
		case train.OperationFill:
			fills++
		}
	}
	require.Equal(t, 4+2, fills)
	require.Positive(t, moves)
	require.Equal(t, len(tree.Lives)-8-moves, tree.Summary().Exploits, "moving is not copying")

	for update, members := range metricsOf(t, dir) {
		alive := 0
		for _, l := range tree.Lives {
			if l.Born < update && (l.Ended == None || l.Ended >= update) {
				alive++
				require.Contains(t, members, l.Member, "update %d", update)
				require.Equal(t, float32(*members[l.Member]["clip_range"]), float32(l.Hyperparameters["clip_range"]), "member %d, update %d", l.Member, update)
			}
		}
		require.Equal(t, len(members), alive, "update %d", update)
	}
	for member := range 5 {
		cfg, err := train.LoadRun(dir)
		require.NoError(t, err)
		replay, err := tree.Replay(cfg, member, 0)
		require.NoError(t, err)
		require.Equal(t, tree.Updates, replay.TotalUpdates())
		require.NoError(t, replay.Validate())
		require.Empty(t, replay.Run.Earlier)
		ancestry, err := tree.Ancestry(member)
		require.NoError(t, err)
		require.Less(t, tree.Lives[ancestry[0]].Member, 8)
	}
	_, err = tree.Ancestry(5)
	require.ErrorIs(t, err, ErrMember)
	out := text(t, func(b *bytes.Buffer) error { return tree.WriteText(b, true) })
	require.Contains(t, out, "5 members, ")
	require.Contains(t, out, " of 8 members of the start have living descendants\n8 members became 12 at update 4\n12 members became 3 at update 7\n3 members became 5 at update 10\n")
	require.Len(t, drawn(out), len(tree.Lives))
	require.Equal(t, moves, strings.Count(out, " move "))
	require.Equal(t, fills, strings.Count(out, " new "))
}

// config.yaml knows of a change a moment before decisions.jsonl does.
func TestFamilyWhileARunIsResumed(t *testing.T) {
	dir := changedRun(t)
	path := filepath.Join(dir, decisionsFile)
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	lines := strings.SplitAfter(strings.TrimSuffix(string(whole), "\n"), "\n")
	first := 0
	for !strings.Contains(lines[first], `"operation":"fill"`) {
		first++
	}
	write := func(lines ...string) {
		t.Helper()
		require.NoError(t, os.WriteFile(path, []byte(strings.TrimSuffix(strings.Join(lines, ""), "\n")+"\n"), 0o644))
	}
	write(lines[:first+3]...)
	tree, err := Read(dir)
	require.NoError(t, err)
	require.Len(t, tree.Warnings, 1)
	require.Contains(t, tree.Warnings[0], "does not have the lines of 1 members yet that came at update 4: the family is shown with 8 members")
	require.Equal(t, 8, tree.Population)
	require.Len(t, tree.Lives, 8+first)

	write(append(append([]string{}, lines[:first]...), lines[first+1:]...)...)
	_, err = Read(dir)
	require.ErrorContains(t, err, "by run.earlier of the configuration 8 members became 12 at update 4; the lines of 1 of them are missing")

	write(append(append([]string{}, lines[:first]...), strings.Replace(lines[first], `"operation":"fill"`, `"operation":"move"`, 1))...)
	_, err = Read(dir)
	require.NoError(t, err, "a part of the lines is not read")
	write(append(append(append([]string{}, lines[:first]...), strings.Replace(lines[first], `"operation":"fill"`, `"operation":"move"`, 1)), lines[first+1:]...)...)
	_, err = Read(dir)
	require.ErrorContains(t, err, `operation "move" of member 8, which does not fit a population of 12`)

	require.NoError(t, os.WriteFile(path, whole, 0o644))
	config, err := os.ReadFile(filepath.Join(dir, "config.yaml"))
	require.NoError(t, err)
	cfg, err := train.Load("config.yaml", config, nil)
	require.NoError(t, err)
	cfg.Run.Earlier, cfg.PBT.PopulationSize = nil, 8
	config, err = cfg.YAML()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.yaml"), config, 0o644))
	_, err = Read(dir)
	require.ErrorContains(t, err, `operation "fill" at update 4, at which run.earlier of the configuration has no change of the number of members`)
}
