package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"brood/train"

	"github.com/spf13/cobra"
	"golang.org/x/sys/cpu"
)

func newDoctor() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Say what this machine offers and whether training works on it",
		Args:  noArgument,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := cmd.OutOrStdout()
			line := func(name, format string, args ...any) {
				fmt.Fprintf(out, "%-10s %s\n", name, fmt.Sprintf(format, args...))
			}
			line("go", "%s %s/%s", runtime.Version(), runtime.GOOS, runtime.GOARCH)
			line("cpu", "%s", cpuName())
			line("features", "%s", cpuFeatures())
			line("threads", "%d", runtime.GOMAXPROCS(0))
			line("memory", "%s", memory())
			devices := []string{train.DeviceCPU}
			gpus, err := train.GPUs()
			for _, name := range gpus {
				line("gpu", "%s", name)
			}
			if err != nil {
				line("gpu", "not used: %v", err)
			} else {
				devices = append(devices, train.DeviceCUDA)
			}
			for _, device := range devices {
				engine, err := train.SelfTest(device)
				if err != nil {
					line("engine", "%s FAILED", engine)
					return err
				}
				line("engine", "%s: trained and played a small population", engine)
			}
			return nil
		},
	}
}

// cpuFeatures lists the instruction sets that the CPU engine has code for.
func cpuFeatures() string {
	var names []string
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
	if len(names) == 0 {
		return "none that the engine has code for; it uses plain Go"
	}
	return strings.Join(names, " ")
}

// cpuName and memory read Linux's /proc; elsewhere they are unknown, and
// nothing depends on them.
func cpuName() string { return procField("/proc/cpuinfo", "model name") }

func memory() string { return procField("/proc/meminfo", "MemTotal") }

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
