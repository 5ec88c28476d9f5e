package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

// standardLibrary is the name of Go's own library among the modules.
const standardLibrary = "std"

// module is a module that is in a binary.
type module struct {
	path, version, sum string
	// licenses are SPDX identifiers, sorted.
	licenses []string
	// files are the texts, by their names.
	files []licenseFile
}

type licenseFile struct{ name, text string }

var (
	licenseName = regexp.MustCompile(`(?i)^(licen[sc]e|copying|unlicense)`)
	noticeName  = regexp.MustCompile(`(?i)^(notice|patents)`)
)

// readLicenses finds the module's licence in the module cache, and fails where there
// is none that it knows: then a person must look.
func (m *module) readLicenses() error {
	dir, err := m.directory()
	if err != nil {
		return err
	}
	ids := map[string]bool{}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			// Those at the top and in a folder for them are the module's.
			if path == dir || licenseName.MatchString(d.Name()) && filepath.Dir(path) == dir {
				return nil
			}
			return fs.SkipDir
		}
		inFolder := filepath.Dir(path) != dir
		if !inFolder && !licenseName.MatchString(d.Name()) && !noticeName.MatchString(d.Name()) {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		m.files = append(m.files, licenseFile{filepath.ToSlash(name), string(text)})
		for _, id := range identify(string(text)) {
			ids[id] = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(ids) == 0 {
		return fmt.Errorf("%s@%s: no licence that is known, in %s; identify in internal/release/licenses.go has those that are", m.path, m.version, dir)
	}
	for id := range ids {
		m.licenses = append(m.licenses, id)
	}
	slices.Sort(m.licenses)
	return nil
}

// directory is where the module's files are.
func (m *module) directory() (string, error) {
	if m.path == standardLibrary {
		out, err := exec.Command("go", "env", "GOROOT").Output()
		return strings.TrimSpace(string(out)), err
	}
	var stderr bytes.Buffer
	cmd := exec.Command("go", "mod", "download", "-json", m.path+"@"+m.version)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go mod download %s@%s: %w: %s%s", m.path, m.version, err, out, stderr.Bytes())
	}
	var found struct{ Dir string }
	if err := json.Unmarshal(out, &found); err != nil {
		return "", fmt.Errorf("go mod download %s@%s: %w", m.path, m.version, err)
	}
	return found.Dir, nil
}

// identify returns the SPDX identifiers of the licences that a text has.
func identify(text string) (ids []string) {
	words := strings.ToLower(strings.Join(strings.Fields(text), " "))
	has := func(phrase string) bool { return strings.Contains(words, phrase) }
	if has("apache license") && has("version 2.0") {
		ids = append(ids, "Apache-2.0")
	}
	if has("permission is hereby granted, free of charge, to any person obtaining a copy of this software") {
		ids = append(ids, "MIT")
	}
	if has("redistribution and use in source and binary forms") {
		if has("neither the name") || has("may not be used to endorse") || has("may be used to endorse") {
			ids = append(ids, "BSD-3-Clause")
		} else {
			ids = append(ids, "BSD-2-Clause")
		}
	}
	if has("sil open font license") {
		ids = append(ids, "OFL-1.1")
	}
	if has("creative commons attribution 4.0 international public license") {
		ids = append(ids, "CC-BY-4.0")
	}
	if has("mozilla public license") && has("2.0") {
		ids = append(ids, "MPL-2.0")
	}
	if has("permission to use, copy, modify, and/or distribute this software for any purpose") {
		ids = append(ids, "ISC")
	}
	if has("the freetype project license") {
		ids = append(ids, "FTL")
	}
	if has("this is free and unencumbered software released into the public domain") {
		ids = append(ids, "Unlicense")
	}
	return ids
}

// thirdParty is the list for people.
func thirdParty(modules []*module) string {
	var b strings.Builder
	b.WriteString("# What brood is made of\n\nThe modules in the binaries and their licences; the texts are in THIRD_PARTY_LICENSES.txt.\n\n| module | version | licence |\n|---|---|---|\n")
	for _, m := range modules {
		name := m.path
		if name == standardLibrary {
			name = "Go's standard library and runtime"
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", name, m.version, strings.Join(m.licenses, ", "))
	}
	fmt.Fprintf(&b, "\n%d modules; read with %s.\n", len(modules), runtime.Version())
	return b.String()
}

func licenseTexts(modules []*module) string {
	var b strings.Builder
	for _, m := range modules {
		for _, f := range m.files {
			rule := strings.Repeat("=", 80)
			fmt.Fprintf(&b, "%s\n%s %s: %s\n%s\n\n%s\n\n", rule, m.path, m.version, f.name, rule, strings.TrimSpace(f.text))
		}
	}
	return b.String()
}
