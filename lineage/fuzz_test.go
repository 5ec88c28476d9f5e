package lineage

import (
	"io"
	"os"
	"path/filepath"
	"runtime/metrics"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzLineage: a run folder whose logs hold anything is read, or refused with the
// file and the line; what is read can be printed.
func FuzzLineage(f *testing.F) {
	dir := f.TempDir()
	handMade(f, dir, 4, mixed, nil)
	exploits, err := os.ReadFile(filepath.Join(dir, decisionsFile))
	require.NoError(f, err)
	f.Add(exploits, []byte(nil))
	f.Add([]byte(nil), []byte(`{"update":1,"member":0,"learning_rate":0.001}`+"\n"+`{"update":1,"member":1,"learning_rate":null}`+"\n"))
	f.Add(exploits[:len(exploits)/2], []byte(`{"update":1,"member":0}`))
	f.Fuzz(func(t *testing.T, exploits, metric []byte) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, decisionsFile), exploits, 0o644))
		require.NoError(t, os.WriteFile(filepath.Join(dir, metricsFile), metric, 0o644))
		sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
		metrics.Read(sample)
		before := sample[0].Value.Uint64()
		tree, err := Read(dir)
		metrics.Read(sample)
		require.LessOrEqual(t, sample[0].Value.Uint64()-before, uint64(8<<20+2048*(len(exploits)+len(metric))))
		if err != nil {
			require.Contains(t, err.Error(), dir)
			require.Less(t, len(err.Error()), len(dir)+1000, "an error is to be read")
			return
		}
		require.NoError(t, tree.WriteText(io.Discard, true))
		require.NoError(t, tree.WriteDOT(io.Discard, nil))
		for member := range tree.Population {
			require.NoError(t, tree.WriteMember(io.Discard, member))
			steps, err := tree.AncestryHistory(member)
			require.NoError(t, err)
			require.NotEmpty(t, steps)
			_, err = tree.Schedule(member)
			require.NoError(t, err)
		}
	})
}

// A line that does not end is refused before it is in memory.
func TestLongLinesAreRefused(t *testing.T) {
	dir := t.TempDir()
	handMade(t, dir, 4, mixed, nil)
	path := filepath.Join(dir, metricsFile)
	require.NoError(t, os.WriteFile(path, make([]byte, 2<<20), 0o644))
	_, err := Read(dir)
	require.ErrorContains(t, err, path+":1: a line of more than 1048576 bytes")
	require.NoError(t, os.Remove(path))
	path = filepath.Join(dir, decisionsFile)
	require.NoError(t, os.WriteFile(path, make([]byte, 2<<20), 0o644))
	_, err = Read(dir)
	require.ErrorContains(t, err, path+":1: a line of more than 1048576 bytes")
}
