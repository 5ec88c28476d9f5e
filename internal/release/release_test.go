package main

import (
	"debug/buildinfo"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The SBOM of the real program has what CycloneDX 1.6 demands, every module of the
// binary, and a licence for each. A dependency whose licence nobody has looked at
// fails here.
func TestDescribe(t *testing.T) {
	folder := t.TempDir()
	binary := filepath.Join(folder, "brood-here-now")
	build := exec.Command("go", "build", "-o", binary, "brood/cmd/brood")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	r := release{version: "v1.2.3", commit: "0123456789", time: "2026-11-27T01:02:03Z"}
	require.NoError(t, r.describe(folder))

	text, err := os.ReadFile(binary + ".cdx.json")
	require.NoError(t, err)
	var b map[string]any
	require.NoError(t, json.Unmarshal(text, &b))
	validate(t, b)
	root := b["metadata"].(map[string]any)["component"].(map[string]any)
	assert.Equal(t, "v1.2.3", root["version"])
	sum, err := sha256Of(binary)
	require.NoError(t, err)
	assert.Equal(t, sum, root["hashes"].([]any)[0].(map[string]any)["content"])

	info, err := buildinfo.ReadFile(binary)
	require.NoError(t, err)
	var want, got []string
	for _, dep := range info.Deps {
		want = append(want, dep.Path+"@"+dep.Version)
	}
	want = append(want, "std@"+strings.TrimPrefix(info.GoVersion, "go"))
	list, err := os.ReadFile(filepath.Join(folder, "THIRD_PARTY.md"))
	require.NoError(t, err)
	texts, err := os.ReadFile(filepath.Join(folder, "THIRD_PARTY_LICENSES.txt"))
	require.NoError(t, err)
	for _, c := range b["components"].([]any) {
		c := c.(map[string]any)
		name, version := c["name"].(string), c["version"].(string)
		got = append(got, name+"@"+version)
		assert.NotEmpty(t, c["licenses"], name)
		assert.Contains(t, string(texts), name+" "+version+": ", "its licence's text")
		if name != standardLibrary {
			assert.Contains(t, string(list), "| "+name+" | "+version+" | ")
		}
	}
	assert.ElementsMatch(t, want, got)
	license, err := os.ReadFile(filepath.Join(runtime.GOROOT(), "LICENSE"))
	require.NoError(t, err)
	assert.Contains(t, string(texts), strings.TrimSpace(string(license)), "the whole text")
	assert.Greater(t, len(texts), 1000*len(want))

	before := string(text)
	require.NoError(t, r.describe(folder))
	text, err = os.ReadFile(binary + ".cdx.json")
	require.NoError(t, err)
	assert.Equal(t, before, string(text), "the same binary has the same SBOM")
}

// validate checks what the schema of CycloneDX 1.6 demands of the parts that are
// written here: what is required, the words and patterns that are allowed, references
// that lead somewhere, and no property that the schema does not have.
func validate(t *testing.T, b map[string]any) {
	t.Helper()
	only(t, "bom", b, "bomFormat", "specVersion", "serialNumber", "version", "metadata", "components", "dependencies")
	assert.Equal(t, "CycloneDX", b["bomFormat"])
	assert.Equal(t, "1.6", b["specVersion"])
	assert.EqualValues(t, 1, b["version"])
	assert.Regexp(t, `^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`, b["serialNumber"])
	metadata := b["metadata"].(map[string]any)
	only(t, "metadata", metadata, "timestamp", "component")
	assert.Regexp(t, `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`, metadata["timestamp"])
	refs := map[string]bool{}
	for _, c := range append([]any{metadata["component"]}, b["components"].([]any)...) {
		c := c.(map[string]any)
		only(t, "component", c, "type", "bom-ref", "name", "version", "purl", "hashes", "licenses", "properties")
		assert.Contains(t, []any{"application", "library"}, c["type"])
		assert.NotEmpty(t, c["name"])
		ref, _ := c["bom-ref"].(string)
		assert.NotEmpty(t, ref)
		assert.False(t, refs[ref], "bom-ref %s is unique", ref)
		refs[ref] = true
		if purl, ok := c["purl"]; ok {
			assert.Regexp(t, `^pkg:golang/[^@ ]+@[^@ ]+$`, purl)
		}
		for _, h := range listOf(c["hashes"]) {
			only(t, "hash", h, "alg", "content")
			assert.Equal(t, "SHA-256", h["alg"])
			assert.Regexp(t, regexp.MustCompile(`^[0-9a-f]{64}$`), h["content"])
		}
		for _, l := range listOf(c["licenses"]) {
			only(t, "license choice", l, "license")
			id := l["license"].(map[string]any)["id"]
			assert.Contains(t, []any{"Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "OFL-1.1", "MPL-2.0", "ISC", "FTL", "Unlicense", "CC-BY-4.0"}, id, "an SPDX identifier")
		}
		for _, p := range listOf(c["properties"]) {
			only(t, "property", p, "name", "value")
		}
	}
	for _, d := range listOf(b["dependencies"]) {
		only(t, "dependency", d, "ref", "dependsOn")
		assert.True(t, refs[d["ref"].(string)], d["ref"])
		on, _ := d["dependsOn"].([]any)
		for _, ref := range on {
			assert.True(t, refs[ref.(string)], ref)
		}
	}
}

func only(t *testing.T, what string, object map[string]any, names ...string) {
	t.Helper()
	for name := range object {
		assert.True(t, slices.Contains(names, name), "%s has %s, which is not in the schema's part that is used", what, name)
	}
}

func listOf(list any) (objects []map[string]any) {
	items, _ := list.([]any)
	for _, item := range items {
		objects = append(objects, item.(map[string]any))
	}
	return objects
}

func TestIdentify(t *testing.T) {
	for text, want := range map[string][]string{
		"Apache License\n  Version 2.0, January 2004":                                                             {"Apache-2.0"},
		"Permission is hereby granted, free of charge, to any person\nobtaining a copy of this software":          {"MIT"},
		"Redistribution and use in source and binary forms ... Neither the name of":                               {"BSD-3-Clause"},
		"Redistribution and use in source and binary forms, with or without":                                      {"BSD-2-Clause"},
		"All rights reserved. You may look at it.":                                                                nil,
		"Creative Commons Attribution 4.0 International Public License":                                           {"CC-BY-4.0"},
		"SIL OPEN FONT LICENSE Version 1.1":                                                                       {"OFL-1.1"},
		"Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is": {"ISC"},
	} {
		assert.Equal(t, want, identify(text), text)
	}
}

func TestUnknownLicenseIsRefused(t *testing.T) {
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "brood-x-y"), []byte("no binary"), 0o755))
	r := release{version: "v1"}
	assert.Error(t, r.describe(folder))
	assert.ErrorContains(t, r.describe(t.TempDir()), "holds no binary")
	m := module{path: "example.com/none", version: "v0.0.1"}
	t.Setenv("GOFLAGS", "-mod=mod")
	t.Setenv("GOPROXY", "off")
	assert.ErrorContains(t, m.readLicenses(), "example.com/none@v0.0.1")
}
