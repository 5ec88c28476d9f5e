// Command release describes the binaries of a release: for each what is in it, as a
// CycloneDX SBOM, and for all the licences of what they are made of.
//
//	release -version V -commit C -time T FOLDER
//
// FOLDER holds the binaries, named brood-OS-ARCH. Everything is read from them and
// from the module cache, so that nothing can be forgotten.
package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
)

func main() {
	var r release
	flag.StringVar(&r.version, "version", "", "version of the release")
	flag.StringVar(&r.commit, "commit", "", "commit it was built from")
	flag.StringVar(&r.time, "time", "", "time of the commit, RFC 3339")
	flag.Parse()
	if flag.NArg() != 1 || r.version == "" {
		fmt.Fprintln(os.Stderr, "usage: release -version V [-commit C] [-time T] FOLDER")
		os.Exit(2)
	}
	if err := r.describe(flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

type release struct{ version, commit, time string }

// describe writes the SBOMs, THIRD_PARTY.md and THIRD_PARTY_LICENSES.txt.
func (r *release) describe(folder string) error {
	binaries, err := filepath.Glob(filepath.Join(folder, "brood-*"))
	if err != nil {
		return err
	}
	binaries = slices.DeleteFunc(binaries, func(name string) bool { return strings.HasSuffix(name, ".json") })
	if len(binaries) == 0 {
		return fmt.Errorf("%s holds no binary brood-OS-ARCH", folder)
	}
	known := map[string]*module{}
	for _, binary := range binaries {
		info, err := buildinfo.ReadFile(binary)
		if err != nil {
			return err
		}
		modules, err := modulesOf(info, known)
		if err != nil {
			return fmt.Errorf("%s: %w", binary, err)
		}
		sum, err := sha256Of(binary)
		if err != nil {
			return err
		}
		text, err := json.MarshalIndent(r.sbom(filepath.Base(binary), sum, info.GoVersion, modules), "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(binary+".cdx.json", append(text, '\n'), 0o644); err != nil {
			return err
		}
	}
	all := make([]*module, 0, len(known))
	for _, m := range known {
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b *module) int { return strings.Compare(a.path, b.path) })
	if err := os.WriteFile(filepath.Join(folder, "THIRD_PARTY.md"), []byte(thirdParty(all)), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "THIRD_PARTY_LICENSES.txt"), []byte(licenseTexts(all)), 0o644)
}

// modulesOf returns what a binary is made of, Go's own library included. known
// remembers modules over several binaries.
func modulesOf(info *debug.BuildInfo, known map[string]*module) (list []*module, err error) {
	needed := []*module{{path: standardLibrary, version: strings.TrimPrefix(info.GoVersion, "go")}}
	for _, dep := range info.Deps {
		if dep.Replace != nil {
			dep = dep.Replace
		}
		needed = append(needed, &module{path: dep.Path, version: dep.Version, sum: dep.Sum})
	}
	for _, m := range needed {
		if have, ok := known[m.path]; ok {
			list = append(list, have)
			continue
		}
		if err := m.readLicenses(); err != nil {
			return nil, err
		}
		known[m.path] = m
		list = append(list, m)
	}
	return list, nil
}

func sha256Of(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
