// Package version says which brood this is: what the release was stamped with, or
// what Go's tool recorded when it built the program.
package version

import (
	"runtime"
	"runtime/debug"
	"strings"
)

// Set with -ldflags "-X brood/internal/version.stamped=v1.2.0", which `make release`
// does; empty where the program was built by `go build`.
var stamped, commit, commitTime string

// Info is what `brood version --json` prints.
type Info struct {
	// Version is that of `git describe`, or of the module where `go install` built it.
	Version string `json:"version"`
	// Commit is the revision of the source and Time when it was committed; empty
	// where the build did not record them.
	Commit string `json:"commit"`
	Time   string `json:"time"`
	// Modified says whether files differed from the commit.
	Modified bool   `json:"modified"`
	Go       string `json:"go"`
	OS       string `json:"os"`
	Arch     string `json:"arch"`
	// Tags are the build tags, such as cuda.
	Tags string `json:"tags"`
}

// Get returns what is known of this program.
func Get() Info {
	build, _ := debug.ReadBuildInfo() // nil in a program that was not built with modules
	return get(build)
}

func get(build *debug.BuildInfo) Info {
	i := Info{Version: "(devel)", Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	if build != nil {
		if build.Main.Version != "" {
			i.Version = build.Main.Version
		}
		for _, s := range build.Settings {
			switch s.Key {
			case "vcs.revision":
				i.Commit = s.Value
			case "vcs.time":
				i.Time = s.Value
			case "vcs.modified":
				i.Modified = s.Value == "true"
			case "-tags":
				i.Tags = s.Value
			}
		}
	}
	if stamped != "" {
		i.Version, i.Commit, i.Time = stamped, commit, commitTime
		i.Modified = strings.HasSuffix(stamped, "-dirty")
	}
	return i
}

// String is one line for people.
func String() string { return Get().String() }

func (i Info) String() string {
	parts := []string{i.Version}
	if i.Commit != "" && !strings.Contains(i.Version, i.Commit[:min(7, len(i.Commit))]) {
		parts = append(parts, "commit "+i.Commit[:min(12, len(i.Commit))])
	}
	if i.Modified && !strings.HasSuffix(i.Version, "dirty") {
		parts = append(parts, "modified")
	}
	parts = append(parts, i.Go, i.OS+"/"+i.Arch)
	if i.Tags != "" {
		parts = append(parts, "tags "+i.Tags)
	}
	return strings.Join(parts, "  ")
}
