package version

import (
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestFromBuildInfo(t *testing.T) {
	build := &debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}, Settings: []debug.BuildSetting{
		{Key: "-tags", Value: "cuda"}, {Key: "vcs.revision", Value: "0123456789abcdef0123"}, {Key: "vcs.time", Value: "2026-11-27T01:02:03Z"},
		{Key: "vcs.modified", Value: "true"}}}
	i := get(build)
	assert.Equal(t, Info{Version: "v1.2.3", Commit: "0123456789abcdef0123", Time: "2026-11-27T01:02:03Z", Modified: true,
		Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH, Tags: "cuda"}, i)
	assert.Equal(t, "v1.2.3  commit 0123456789ab  modified  "+runtime.Version()+"  "+runtime.GOOS+"/"+runtime.GOARCH+"  tags cuda", i.String())
}

// A release says what it was stamped with, and not what the build knew.
func TestStamped(t *testing.T) {
	stamped, commit, commitTime = "v1.2.3-4-g0123456-dirty", "0123456789abcdef0123", "2026-11-27T01:02:03Z"
	t.Cleanup(func() { stamped, commit, commitTime = "", "", "" })
	i := get(&debug.BuildInfo{Main: debug.Module{Version: "(devel)"}, Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "other"}}})
	assert.Equal(t, stamped, i.Version)
	assert.Equal(t, commit, i.Commit)
	assert.True(t, i.Modified)
	assert.NotContains(t, i.String(), "modified", "the version says so")
}

func TestUnknown(t *testing.T) {
	i := get(nil)
	assert.Equal(t, "(devel)", i.Version)
	assert.Empty(t, i.Commit)
	assert.False(t, i.Modified)
}
