package export

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"brood/internal/golden"
	"brood/internal/pyenv"
)

// snippets are the blocks of docs/using-agents.md in a language.
func snippets(t *testing.T, language string) []string {
	page, err := os.ReadFile("../docs/using-agents.md")
	require.NoError(t, err)
	var list []string
	for _, block := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		list = append(list, block[1])
	}
	return list
}

// played is what a snippet prints, a score.
func played(t *testing.T, output []byte) float64 {
	score, err := strconv.ParseFloat(strings.TrimSpace(string(output)), 64)
	require.NoError(t, err, "%s", output)
	return score
}

// The programs on the page play agents that have learned, as the page has them.
func TestTheDocumentationsPrograms(t *testing.T) {
	for name, test := range map[string]struct {
		config string
		floor  float64 // a score that an untrained agent does not have
	}{
		"CartPole": {learnedCartPole, 100},
		"Pendulum": {learnedPendulum, -900},
		"Panel":    {strings.Replace(learnedSwitches, switchesID, panelID, 1), 25},
	} {
		t.Run(name, func(t *testing.T) {
			stored, _ := trained(t, test.config)
			dir := t.TempDir()
			names := []string{`"runs/a/best.ckpt"`, strconv.Quote(stored.Path)}
			for _, format := range Formats() {
				path := filepath.Join(dir, "agent."+string(format))
				_, err := File(stored.Checkpoint, format, path)
				require.NoError(t, err)
				names = append(names, fmt.Sprintf("%q", "agent."+string(format)), strconv.Quote(path))
			}
			here := strings.NewReplacer(names...)
			if name == "CartPole" {
				programs := snippets(t, "go")
				require.Len(t, programs, 1)
				require.Greater(t, played(t, runGo(t, here.Replace(programs[0]))), test.floor)
			}
			pyenv.Interpreter(t)
			programs := 0
			for _, program := range snippets(t, "python") {
				if strings.Contains(program, "import torch") {
					continue
				}
				programs++
				require.Greater(t, played(t, pyenv.Run(t, fmt.Sprintf("import sys; sys.path.insert(0, %q)\n", twins(t))+here.Replace(program), nil)), test.floor, program)
			}
			require.Equal(t, 2, programs)
		})
	}
}

// runGo runs a program within this module, outside its folders.
func runGo(t *testing.T, program string) []byte {
	path := filepath.Join(t.TempDir(), "main.go")
	require.NoError(t, os.WriteFile(path, []byte(program), 0o644))
	cmd := exec.Command("go", "run", path)
	cmd.Dir = golden.ModuleRoot(t)
	output, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", output)
	return output
}
