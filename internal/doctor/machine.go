package doctor

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"brood/internal/version"

	"golang.org/x/sys/cpu"
	"golang.org/x/term"
)

const (
	mib = 1 << 20
	gib = 1 << 30
	// A population of 64 takes 70 MB; below the first bound not even a small one fits
	// with what the program itself takes.
	leastMemory = 64 * mib
	lowMemory   = 512 * mib
	// A checkpoint of a small population takes 1 MB, and three are kept.
	leastDisk = 16 * mib
	lowDisk   = gib
)

// processor says which code the CPU engine has for this one.
func processor() Finding {
	return processorFinding(procField("/proc/cpuinfo", "model name"), features(), runtime.GOARCH)
}

func processorFinding(name string, features []string, arch string) Finding {
	if len(features) > 0 {
		return ok("cpu", "%s: %s", name, strings.Join(features, " "))
	}
	return Finding{Name: "cpu", State: Warning, Text: name + ": no AVX2, and the portable code is about thirty times slower (" + arch + ")",
		Fix: "train on an x86-64 machine with AVX2, or on a GPU"}
}

// features lists the instruction sets that the CPU engine has code for. The least of
// them is AVX2 with FMA: others alone are of no use.
func features() (names []string) {
	for _, f := range []struct {
		name string
		has  bool
	}{
		{"AVX2", cpu.X86.HasAVX2}, {"FMA", cpu.X86.HasFMA}, {"AVX-512F", cpu.X86.HasAVX512F}, {"AVX-512DQ", cpu.X86.HasAVX512DQ},
		{"AVX-512VL", cpu.X86.HasAVX512VL}, {"AVX-512BW", cpu.X86.HasAVX512BW},
	} {
		if f.has {
			names = append(names, f.name)
		}
	}
	if !cpu.X86.HasAVX2 || !cpu.X86.HasFMA {
		return nil
	}
	return names
}

func threads() Finding {
	quota, _ := os.ReadFile("/sys/fs/cgroup/cpu.max") // absent: no limit is known
	return threadsFinding(runtime.GOMAXPROCS(0), runtime.NumCPU(), cpuQuota(string(quota)))
}

// cpuQuota is the number of processors that cgroup v2's cpu.max allows; infinite
// where it sets no limit.
func cpuQuota(cpuMax string) float64 {
	fields := strings.Fields(cpuMax)
	if len(fields) != 2 {
		return math.Inf(1)
	}
	quota, err1 := strconv.ParseFloat(fields[0], 64)
	period, err2 := strconv.ParseFloat(fields[1], 64)
	if err1 != nil || err2 != nil || period <= 0 {
		return math.Inf(1) // "max 100000"
	}
	return quota / period
}

func threadsFinding(threads, processors int, quota float64) Finding {
	text := fmt.Sprintf("%d, on %d processors", threads, processors)
	if !math.IsInf(quota, 0) {
		text += fmt.Sprintf(", the container's limit is %.3g", quota)
	}
	// Go itself takes two threads where the limit is below.
	if most := min(float64(processors), max(2, math.Ceil(quota))); float64(threads) > most {
		return Finding{Name: "threads", State: Warning, Text: text + ": more threads than can run wait for one another",
			Fix: fmt.Sprintf("unset GOMAXPROCS, or --set run.threads=%.0f", most)}
	}
	return ok("threads", "%s", text)
}

func memory() Finding {
	available, known := kibibytes(procField("/proc/meminfo", "MemAvailable"))
	if !known {
		return ok("memory", "unknown on %s", runtime.GOOS)
	}
	limit, limited := cgroupNumber("/sys/fs/cgroup/memory.max")
	used, _ := cgroupNumber("/sys/fs/cgroup/memory.current")
	stat, _ := os.ReadFile("/sys/fs/cgroup/memory.stat") // absent: no limit, either
	return memoryFinding(available, limit-used+reclaimable(string(stat)), limited)
}

// reclaimable is what the limit counts as used and the system gives back when asked:
// files that were read once.
func reclaimable(stat string) float64 {
	for _, line := range strings.Split(stat, "\n") {
		if value, ok := strings.CutPrefix(line, "inactive_file "); ok {
			n, _ := strconv.ParseFloat(value, 64) // the kernel writes a number
			return n
		}
	}
	return 0
}

func memoryFinding(available, left float64, limited bool) Finding {
	text := fmt.Sprintf("%.1f GiB available", available/gib)
	if limited {
		text += fmt.Sprintf(", %.1f GiB left in the container's limit", left/gib)
		available = min(available, left)
	}
	return amount("memory", text, available, leastMemory, lowMemory, "end other programs, raise the container's limit, or lower pbt.population_size and env.count")
}

// amount is a finding about how much there is of something.
func amount(name, text string, have, least, low float64, fix string) Finding {
	switch {
	case have < least:
		return Finding{Name: name, State: Missing, Text: fmt.Sprintf("%s; training needs %.0f MiB", text, least/mib), Fix: fix, Fatal: true}
	case have < low:
		return Finding{Name: name, State: Warning, Text: text, Fix: fix}
	}
	return ok(name, "%s", text)
}

func kibibytes(text string) (float64, bool) {
	n, err := strconv.ParseFloat(strings.TrimSuffix(text, " kB"), 64)
	return n * 1024, err == nil
}

func cgroupNumber(path string) (float64, bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(string(text)), 64)
	return n, err == nil // "max": no limit
}

func disk(folder string) Finding {
	free, err := freeBytes(folder)
	if err != nil {
		return Finding{Name: "disk", State: Warning, Text: fmt.Sprintf("how much is free is not known: %v", err), Fix: "df -h ."}
	}
	return amount("disk", fmt.Sprintf("%.1f GiB free where runs go", free/gib), free, leastDisk, lowDisk, "free some, or --out a folder on another disk")
}

// placeOf is the folder runs, or where that would be made.
func placeOf(runs string) string {
	if _, err := os.Stat(runs); errors.Is(err, fs.ErrNotExist) {
		return filepath.Dir(runs)
	}
	return runs
}

// runFolder tries to write where runs go.
func runFolder(runs string) Finding {
	f, err := os.CreateTemp(placeOf(runs), ".brood-doctor-*")
	if err == nil {
		_, err = f.WriteString("brood")
		err = errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	if err != nil {
		return Finding{Name: "folder", State: Missing, Text: fmt.Sprintf("runs cannot be written here: %v", err),
			Fix: "cd to a folder that you can write to, or brood train --out FOLDER", Fatal: true}
	}
	return ok("folder", "runs can be written here, to %s", runs)
}

// clock compares the time with that of the source, which it cannot be before: run
// folders are named by it, and a bucket refuses a request that is minutes off.
func clock() Finding { return clockFinding(time.Now(), version.Get().Time) }

func clockFinding(now time.Time, built string) Finding {
	text := now.Format(time.RFC3339)
	if source, err := time.Parse(time.RFC3339, built); err == nil && now.Before(source) {
		return Finding{Name: "clock", State: Warning, Text: text + ", which is before this program was made, " + built, Fix: "timedatectl set-ntp true"}
	}
	return ok("clock", "%s", text)
}

// terminal says how progress will look: it draws characters beyond ASCII on a
// terminal.
func terminal() Finding {
	locale := ""
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if locale = os.Getenv(name); locale != "" {
			break
		}
	}
	return terminalFinding(term.IsTerminal(int(os.Stderr.Fd())), os.Getenv("TERM"), locale)
}

func terminalFinding(isTerminal bool, kind, locale string) Finding {
	utf8 := strings.Contains(strings.ReplaceAll(strings.ToLower(locale), "-", ""), "utf8")
	switch {
	case !isTerminal:
		return ok("terminal", "none: progress is a line every few seconds")
	case kind == "dumb" || kind == "":
		return Finding{Name: "terminal", State: Warning, Text: fmt.Sprintf("TERM=%s: progress is a line every few seconds", kind), Fix: "export TERM=xterm-256color"}
	case !utf8:
		return Finding{Name: "terminal", State: Warning, Text: fmt.Sprintf("the locale %q is not UTF-8: the progress bar may look wrong", locale), Fix: "export LANG=C.UTF-8"}
	}
	return ok("terminal", "%s, %s", kind, locale)
}

// procField reads Linux's /proc; elsewhere it is unknown, and nothing depends on it.
func procField(path, field string) string {
	f, err := os.Open(path)
	if err != nil {
		return "unknown on " + runtime.GOOS
	}
	defer f.Close()
	return findField(f, field)
}

func findField(r io.Reader, field string) string {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == field {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// hasNVIDIA says whether there is a driver of NVIDIA's on this machine.
func hasNVIDIA() bool {
	_, err := os.Stat("/proc/driver/nvidia/version")
	return err == nil
}
