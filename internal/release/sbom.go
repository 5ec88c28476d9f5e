package main

import "fmt"

// The parts of CycloneDX 1.6 that are used here.
type (
	bom struct {
		Format       string       `json:"bomFormat"`
		Spec         string       `json:"specVersion"`
		Serial       string       `json:"serialNumber"`
		Version      int          `json:"version"`
		Metadata     metadata     `json:"metadata"`
		Components   []component  `json:"components"`
		Dependencies []dependency `json:"dependencies"`
	}
	metadata struct {
		Timestamp string    `json:"timestamp,omitempty"`
		Component component `json:"component"`
	}
	component struct {
		Type       string          `json:"type"`
		Ref        string          `json:"bom-ref"`
		Name       string          `json:"name"`
		Version    string          `json:"version"`
		PURL       string          `json:"purl,omitempty"`
		Hashes     []hash          `json:"hashes,omitempty"`
		Licenses   []licenseChoice `json:"licenses,omitempty"`
		Properties []property      `json:"properties,omitempty"`
	}
	hash struct {
		Algorithm string `json:"alg"`
		Content   string `json:"content"`
	}
	licenseChoice struct {
		License license `json:"license"`
	}
	license struct {
		ID string `json:"id"`
	}
	property struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	dependency struct {
		Ref       string   `json:"ref"`
		DependsOn []string `json:"dependsOn,omitempty"`
	}
)

// sbom lists what a binary is made of. Build information has no graph: the program
// depends on every module, directly or not. The serial number is made of the
// binary's digest, so that the same binary has the same SBOM.
func (r *release) sbom(name, sum, goVersion string, modules []*module) *bom {
	root := component{Type: "application", Ref: name, Name: "brood", Version: r.version, Hashes: []hash{{"SHA-256", sum}},
		Properties: []property{{"brood:file", name}, {"brood:go", goVersion}}}
	if r.commit != "" {
		root.Properties = append(root.Properties, property{"brood:commit", r.commit})
	}
	b := &bom{Format: "CycloneDX", Spec: "1.6", Version: 1, Metadata: metadata{Timestamp: r.time, Component: root},
		Serial: fmt.Sprintf("urn:uuid:%s-%s-8%s-8%s-%s", sum[:8], sum[8:12], sum[12:15], sum[15:18], sum[18:30])}
	top := dependency{Ref: name}
	for _, m := range modules {
		c := component{Type: "library", Name: m.path, Version: m.version, PURL: "pkg:golang/" + m.path + "@" + m.version}
		c.Ref = c.PURL
		for _, id := range m.licenses {
			c.Licenses = append(c.Licenses, licenseChoice{license{id}})
		}
		if m.sum != "" { // of the module's files by name, which no algorithm of CycloneDX's is
			c.Properties = []property{{"go:sum", m.sum}}
		}
		b.Components = append(b.Components, c)
		top.DependsOn = append(top.DependsOn, c.Ref)
		b.Dependencies = append(b.Dependencies, dependency{Ref: c.Ref})
	}
	b.Dependencies = append([]dependency{top}, b.Dependencies...)
	return b
}
