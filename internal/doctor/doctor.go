// Package doctor looks at a machine and says what brood finds on it, what is
// missing, and the command that gets it.
package doctor

import (
	"fmt"
	"strings"

	"brood/internal/version"
	"brood/train"
)

// State of a finding.
type State string

const (
	// OK: nothing to do.
	OK State = "ok"
	// Warning: training works, and something will be slow or wrong in time.
	Warning State = "warning"
	// Missing: something is not there. Where training needs it, [Finding.Fatal] says so.
	Missing State = "missing"
)

// Finding is a line of what was found.
type Finding struct {
	Name  string `json:"name"`
	State State  `json:"state"`
	Text  string `json:"text"`
	// Fix is what to type or to do; empty where there is nothing to do.
	Fix string `json:"fix,omitempty"`
	// Fatal says that training cannot work.
	Fatal bool `json:"fatal,omitempty"`
}

// Report is all that was found.
type Report struct {
	Version version.Info `json:"version"`
	// Trains says whether training works here.
	Trains   bool      `json:"trains"`
	Findings []Finding `json:"findings"`
}

func ok(name, format string, args ...any) Finding {
	return Finding{Name: name, State: OK, Text: fmt.Sprintf(format, args...)}
}

// Examine looks at everything; it trains a small population on each engine.
func Examine() *Report {
	r := &Report{Version: version.Get(), Trains: true}
	r.add(ok("brood", "%s", r.Version), processor(), threads(), memory(), runFolder("runs"), disk(placeOf("runs")), clock(), terminal(), python())
	gpus, engines := gpu()
	r.add(gpus...)
	for _, device := range engines {
		r.add(engine(device))
	}
	return r
}

func (r *Report) add(findings ...Finding) {
	for _, f := range findings {
		r.Findings = append(r.Findings, f)
		r.Trains = r.Trains && !f.Fatal
	}
}

// Err is nil where training works, and else says what stands in its way.
func (r *Report) Err() error {
	var names []string
	for _, f := range r.Findings {
		if f.Fatal {
			names = append(names, f.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return fmt.Errorf("training does not work here: see %s above", strings.Join(names, ", "))
}

// gpu says which GPUs there are, or why none is used, and the engines to try.
func gpu() (findings []Finding, engines []string) {
	engines = []string{train.DeviceCPU}
	list, err := train.GPUs()
	for _, about := range list {
		findings = append(findings, ok("gpu", "%s", about))
	}
	switch {
	case err == nil && len(list) > 0:
		return findings, append(engines, train.DeviceCUDA)
	case !train.BuiltForCUDA:
		return []Finding{gpuWithoutBuild(hasNVIDIA())}, engines
	case err == nil:
		return []Finding{{Name: "gpu", State: Missing, Text: "not used: the driver knows no GPU", Fix: "nvidia-smi"}}, engines
	}
	return []Finding{{Name: "gpu", State: Missing, Text: fmt.Sprintf("not used: %v", err),
		Fix: "install NVIDIA's driver, 550 or later (Debian: apt-get install nvidia-driver), then nvidia-smi"}}, engines
}

// gpuWithoutBuild is the finding of a build that can use no GPU: only where there is
// one does it matter.
func gpuWithoutBuild(present bool) Finding {
	const text = "not used: this build has no CUDA engine"
	if present {
		return Finding{Name: "gpu", State: Warning, Text: text + ", and there is an NVIDIA driver", Fix: "make cuda"}
	}
	return ok("gpu", "%s, and there is no NVIDIA driver", text)
}

func engine(device string) Finding {
	name, err := train.SelfTest(device)
	if err != nil {
		fix := "BROOD_CPU=generic brood doctor"
		if device != train.DeviceCPU {
			fix = "brood train --device cpu"
		}
		return Finding{Name: "engine", State: Missing, Text: fmt.Sprintf("%s FAILED: %v", name, err), Fix: fix, Fatal: true}
	}
	return ok("engine", "%s: trained and played a small population", name)
}
