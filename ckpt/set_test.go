package ckpt

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"brood/tensor"
)

// faultFS fails the k-th operation, and with stuck every later one too, as a
// disk does that is full or gone. A failing write has written half. Nothing is
// really synced, which would take most of the tests' time; that it is asked for
// is in the log.
type faultFS struct {
	FS
	k     int
	stuck bool
	// silent: the failing write reports no error, only the shorter length.
	silent bool
	done   int
	log    []string
}

func (f *faultFS) op(name string, paths ...string) error {
	f.done++
	for i, p := range paths {
		paths[i] = filepath.Join(filepath.Base(filepath.Dir(p)), filepath.Base(p))
	}
	f.log = append(f.log, name+" "+strings.Join(paths, " "))
	if f.done == f.k || f.stuck && f.done > f.k && f.k > 0 {
		return syscall.ENOSPC
	}
	return nil
}

func (f *faultFS) Create(path string) (File, error) {
	if err := f.op("create", path); err != nil {
		return nil, err
	}
	file, err := f.FS.Create(path)
	return &faultFile{file, f, path}, err
}

func (f *faultFS) MkdirAll(path string) error {
	if err := f.op("mkdir", path); err != nil {
		return err
	}
	return f.FS.MkdirAll(path)
}

func (f *faultFS) Rename(from, to string) error {
	if err := f.op("rename", from, to); err != nil {
		return err
	}
	return f.FS.Rename(from, to)
}

// RemoveAll fails having removed one file of the folder.
func (f *faultFS) RemoveAll(path string) error {
	if err := f.op("remove", path); err != nil {
		if names, e := f.FS.ReadDir(path); e == nil && len(names) > 0 {
			_ = f.FS.RemoveAll(filepath.Join(path, names[0]))
		}
		return err
	}
	return f.FS.RemoveAll(path)
}

func (f *faultFS) SyncDir(path string) error {
	return f.op("syncdir", path)
}

func unsynced() FS { return &faultFS{FS: OS} }

type faultFile struct {
	File
	fs   *faultFS
	path string
}

func (f *faultFile) Write(b []byte) (int, error) {
	if err := f.fs.op("write", f.path); err != nil {
		n, _ := f.File.Write(b[:len(b)/2])
		if f.fs.silent {
			err = nil
		}
		return n, err
	}
	return f.File.Write(b)
}

func (f *faultFile) Sync() error {
	return f.fs.op("sync", f.path)
}

func (f *faultFile) Close() error {
	err := f.fs.op("close", f.path)
	if e := f.File.Close(); err == nil {
		err = e
	}
	return err
}

func sampleSet(t require.TestingT, update int64) Set {
	s := Set{Update: update, Run: sampleRun()}
	l := layoutOf(t, smallSections()...)
	var members []tensor.Member
	for i := range 2 {
		m := filled(l, int(update)+i)
		members = append(members, m)
		s.Members = append(s.Members, encoded(t, m, true))
	}
	s.Run.Digest = tensor.Digest(members...)
	return s
}

// draft is the set as it is written, one file after the other.
func draft(s Set) Draft { return s.Draft() }

func names(t *testing.T, dir string) []string {
	list, err := OS.ReadDir(dir)
	require.NoError(t, err)
	return list
}

func TestSetRoundTrip(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run", "checkpoints")
	_, _, err := Newest(OS, dir, nil)
	require.ErrorIs(t, err, ErrNoCheckpoint)
	for _, update := range []int64{50, 100, 123456789} {
		s := sampleSet(t, update)
		path, err := WriteSet(OS, dir, draft(s))
		require.NoError(t, err)
		back, newest, err := Newest(OS, dir, nil)
		require.NoError(t, err)
		require.Equal(t, path, newest)
		require.Equal(t, &s, back)

		var members []tensor.Member
		for _, data := range back.Members {
			m := tensor.NewMember(layoutOf(t, smallSections()...))
			_, err := decoded(t, data).Restore(m)
			require.NoError(t, err)
			members = append(members, m)
		}
		require.NoError(t, back.CheckDigest(members...))
		members[1].Float32("policy", "actor.0.bias")[2] = -1
		require.ErrorIs(t, back.CheckDigest(members...), ErrDamaged)
	}
	require.Equal(t, []string{"00000050", "00000100", "123456789"}, names(t, dir))
	require.Equal(t, []string{"member-000.ckpt", "member-001.ckpt", "run.ckpt"}, names(t, filepath.Join(dir, "00000050")))
	require.NoError(t, Prune(OS, dir, Retention{Last: 2}))
	require.Equal(t, []string{"00000100", "123456789"}, names(t, dir))
	require.NoError(t, Prune(OS, dir, Retention{Last: 2}))
	require.Equal(t, []string{"00000100", "123456789"}, names(t, dir))
}

func TestSetOfTheSameUpdate(t *testing.T) {
	dir := t.TempDir()
	s := sampleSet(t, 50)
	path, err := WriteSet(OS, dir, draft(s))
	require.NoError(t, err)
	again, err := WriteSet(OS, dir, draft(s))
	require.NoError(t, err, "the same state once more is no error")
	require.Equal(t, path, again)

	other := sampleSet(t, 51)
	other.Update = 50
	_, err = WriteSet(OS, dir, draft(other))
	require.ErrorIs(t, err, ErrExists)

	require.NoError(t, os.Truncate(filepath.Join(path, "member-001.ckpt"), 100))
	_, err = WriteSet(OS, dir, draft(s))
	require.NoError(t, err, "a damaged set is replaced")
	back, err := ReadSet(OS, path)
	require.NoError(t, err)
	require.Equal(t, &s, back)
	require.Equal(t, []string{"00000050"}, names(t, dir))
}

func TestSetsThatAreNotSoundAreRefused(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(t *testing.T, path string)
		want  string
	}{
		"tensor": {func(t *testing.T, path string) {
			file := filepath.Join(path, "member-001.ckpt")
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			m := filled(layoutOf(t, smallSections()...), 51)
			at := strings.Index(string(data), string(m.Raw("policy", "actor.0.weight")))
			data[at+5] ^= 4
			require.NoError(t, os.WriteFile(file, data, 0o644))
		}, "member-001.ckpt: damaged checkpoint: section policy, tensor actor.0.weight: CRC-32C"},
		"missing member": {func(t *testing.T, path string) {
			require.NoError(t, os.Remove(filepath.Join(path, "member-001.ckpt")))
		}, "member-001.ckpt: damaged checkpoint: the file of a member of 2 is missing"},
		"swapped members": {func(t *testing.T, path string) {
			a, b := filepath.Join(path, "member-000.ckpt"), filepath.Join(path, "member-001.ckpt")
			require.NoError(t, os.Rename(a, a+"x"))
			require.NoError(t, os.Rename(b, a))
			require.NoError(t, os.Rename(a+"x", b))
		}, "member-000.ckpt: damaged checkpoint: the file is sound but not the one of this set"},
		"run.ckpt": {func(t *testing.T, path string) {
			require.NoError(t, os.Truncate(filepath.Join(path, "run.ckpt"), 50))
		}, "run.ckpt: damaged checkpoint"},
		"run.ckpt of another update": {func(t *testing.T, path string) {
			other := sampleSet(t, 60)
			require.NoError(t, os.WriteFile(filepath.Join(path, "run.ckpt"), encodedRun(t, other), 0o644))
		}, "run.ckpt: damaged checkpoint: it is of update 60"},
	} {
		t.Run(name, func(t *testing.T) {
			path, err := WriteSet(OS, t.TempDir(), draft(sampleSet(t, 50)))
			require.NoError(t, err)
			test.spoil(t, path)
			_, err = ReadSet(OS, path)
			require.ErrorIs(t, err, ErrDamaged)
			require.ErrorContains(t, err, test.want)
			require.ErrorContains(t, err, path)
		})
	}
}

func TestLatestPassesOverWhatIsNotComplete(t *testing.T) {
	dir := t.TempDir()
	want, err := WriteSet(OS, dir, draft(sampleSet(t, 50)))
	require.NoError(t, err)
	for _, name := range []string{".tmp-00000100", "00000200", "best", "300"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, name), 0o755))
	}
	for _, name := range []string{".tmp-00000100", "best", "300"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name, "run.ckpt"), nil, 0o644))
	}
	_, latest, err := Newest(OS, dir, nil)
	require.NoError(t, err)
	require.Equal(t, want, latest)
	require.DirExists(t, filepath.Join(dir, ".tmp-00000100"), "a reader leaves a writer's folder alone")
	_, err = WriteSet(OS, dir, draft(sampleSet(t, 400)))
	require.NoError(t, err)
	require.NoDirExists(t, filepath.Join(dir, ".tmp-00000100"))
}

func TestWriteSetRefusesWhatIsIncomplete(t *testing.T) {
	dir := t.TempDir()
	for want, edit := range map[string]func(*Set){
		"0 members":             func(s *Set) { s.Members = nil },
		"update -1":             func(s *Set) { s.Update = -1 },
		"digest is not set":     func(s *Set) { s.Run.Digest = [32]byte{} },
		"must not be negative":  func(s *Set) { s.Run.EnvSteps = -1 },
		"is not valid UTF-8":    func(s *Set) { s.Run.Config = "\xff" },
		"seconds NaN must not ": func(s *Set) { s.Run.Seconds = math.NaN() },
	} {
		s := sampleSet(t, 50)
		edit(&s)
		_, err := WriteSet(OS, dir, draft(s))
		require.ErrorContains(t, err, want)
	}
	require.Empty(t, names(t, dir))
}

// faults calls try with a file system that fails at the first operation, at the
// second, and so on until one attempt meets no failure, in each way to fail.
func faults(t *testing.T, try func(t *testing.T, f *faultFS) error) {
	for _, mode := range []faultFS{{}, {stuck: true}, {silent: true}} {
		for k := 1; ; k++ {
			f := &faultFS{FS: OS, k: k, stuck: mode.stuck, silent: mode.silent}
			err := try(t, f)
			if f.done < k {
				require.NoError(t, err)
				require.Greater(t, k, 3, "the operations were not counted")
				break
			}
			require.Error(t, err, "operation %d of %q failed unnoticed", k, f.log)
		}
	}
}

func TestFailureAtAnyOperationLeavesTheLastGoodSet(t *testing.T) {
	good, next := sampleSet(t, 50), sampleSet(t, 100)
	faults(t, func(t *testing.T, f *faultFS) error {
		dir := t.TempDir()
		_, err := WriteSet(unsynced(), dir, draft(good))
		require.NoError(t, err)
		require.NoError(t, os.Mkdir(filepath.Join(dir, ".tmp-00000075"), 0o755))
		_, failure := WriteSet(f, dir, draft(next))

		back, _, err := Newest(OS, dir, nil)
		require.NoError(t, err, "%q", f.log)
		if failure != nil && !strings.HasPrefix(f.log[f.k-1], "syncdir "+filepath.Base(filepath.Dir(dir))) {
			require.Equal(t, &good, back, "%q", f.log)
		} else {
			require.Equal(t, &next, back)
		}
		back, err = ReadSet(OS, filepath.Join(dir, "00000050"))
		require.NoError(t, err)
		require.Equal(t, &good, back)

		_, err = WriteSet(unsynced(), dir, draft(next))
		require.NoError(t, err, "the disk is back")
		require.Equal(t, []string{"00000050", "00000100"}, names(t, dir), "nothing is left over")
		return failure
	})
}

func TestFailureAtAnyOperationOfPrune(t *testing.T) {
	sets := []Set{sampleSet(t, 1), sampleSet(t, 2), sampleSet(t, 3)}
	faults(t, func(t *testing.T, f *faultFS) error {
		dir := t.TempDir()
		for _, s := range sets {
			_, err := WriteSet(unsynced(), dir, draft(s))
			require.NoError(t, err)
		}
		failure := Prune(f, dir, Retention{Last: 1})
		for _, name := range names(t, dir) {
			if !strings.HasPrefix(name, tmpPrefix) {
				_, err := ReadSet(OS, filepath.Join(dir, name))
				require.NoError(t, err, "half a set is to be seen after %q", f.log)
			}
		}
		require.NoError(t, Prune(OS, dir, Retention{Last: 1}))
		_, err := WriteSet(unsynced(), dir, draft(sets[2]))
		require.NoError(t, err)
		require.Equal(t, []string{"00000003"}, names(t, dir))
		return failure
	})
}

func TestFailureAtAnyOperationLeavesTheOldFile(t *testing.T) {
	faults(t, func(t *testing.T, f *faultFS) error {
		path := filepath.Join(t.TempDir(), "best.ckpt")
		require.NoError(t, WriteFile(unsynced(), path, []byte("the old one")))
		failure := WriteFile(f, path, []byte("the new one, longer"))
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		if failure == nil || strings.HasPrefix(f.log[f.k-1], "syncdir") {
			require.Equal(t, "the new one, longer", string(data))
		} else {
			require.Equal(t, "the old one", string(data))
			require.ErrorContains(t, failure, path)
		}
		if !f.stuck {
			require.Equal(t, []string{"best.ckpt"}, names(t, filepath.Dir(path)))
		}
		return failure
	})
}

// What survives a power failure is what was synced, in the order in which it
// was: contents before the names that lead to them.
func TestOrderOfDurability(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "sets")
	f := &faultFS{FS: OS}
	_, err := WriteSet(f, dir, draft(sampleSet(t, 50)))
	require.NoError(t, err)
	require.NoError(t, WriteFile(f, filepath.Join(dir, "x"), []byte("x")))
	parent := filepath.Base(filepath.Dir(dir))
	var want []string
	above := filepath.Dir(filepath.Dir(dir))
	want = append(want, "syncdir "+filepath.Base(filepath.Dir(above))+"/"+filepath.Base(above), "mkdir "+parent+"/sets",
		"syncdir "+filepath.Base(above)+"/"+parent, "mkdir sets/.tmp-00000050")
	write := func(file string) {
		for _, op := range []string{"create", "write", "sync", "close"} {
			want = append(want, fmt.Sprintf("%s %s", op, file))
		}
	}
	write(".tmp-00000050/member-000.ckpt")
	write(".tmp-00000050/member-001.ckpt")
	write(".tmp-00000050/run.ckpt")
	want = append(want, "syncdir sets/.tmp-00000050", "rename sets/.tmp-00000050 sets/00000050", "syncdir "+parent+"/sets")
	want = append(want, "remove sets/.tmp-x")
	write("sets/.tmp-x")
	want = append(want, "rename sets/.tmp-x sets/x", "syncdir "+parent+"/sets")
	require.Equal(t, want, f.log)
}

// vanishing is a folder whose sets go between being listed and being looked at, as
// those of a run do that trains on.
type vanishing struct{ FS }

func (v vanishing) ReadDir(path string) ([]string, error) {
	names, err := v.FS.ReadDir(path)
	if err == nil && filepath.Base(path) == "00000050" {
		err = &os.PathError{Op: "open", Path: path, Err: os.ErrNotExist}
	}
	return names, err
}

func TestListBesideAWriter(t *testing.T) {
	dir := t.TempDir()
	for _, update := range []int64{50, 100} {
		_, err := WriteSet(unsynced(), dir, draft(sampleSet(t, update)))
		require.NoError(t, err)
	}
	sets, err := List(vanishing{OS}, dir)
	require.NoError(t, err)
	require.Equal(t, []int64{100}, sets)
}

// removing is a folder that goes where a file in it is read, as that of a set does which
// a run prunes.
type removing struct {
	FS
	name string
}

func (r removing) ReadFile(path string) ([]byte, error) {
	if filepath.Base(path) == r.name {
		if _, err := SetAside(OS, filepath.Dir(path)); err != nil {
			return nil, err
		}
	}
	return r.FS.ReadFile(path)
}

func TestReadBesideAWriter(t *testing.T) {
	for _, name := range []string{RunFile, MemberFile(1)} {
		dir := t.TempDir()
		path, err := WriteSet(unsynced(), dir, draft(sampleSet(t, 50)))
		require.NoError(t, err)
		_, err = ReadSet(removing{OS, name}, path)
		require.ErrorIs(t, err, os.ErrNotExist)
		require.NotErrorIs(t, err, ErrDamaged, name)

		path, err = WriteSet(unsynced(), dir, draft(sampleSet(t, 60)))
		require.NoError(t, err)
		require.NoError(t, os.Remove(filepath.Join(path, MemberFile(1))))
		_, err = ReadSet(OS, path)
		require.ErrorIs(t, err, ErrDamaged, "the folder is there, and a file of it is not")
	}
}
