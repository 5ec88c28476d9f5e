package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// What Python must have for environments and tests that need it.
var pythonPackages = []string{"gymnasium", "msgpack"}

// pythonTimeout ends an interpreter that hangs.
const pythonTimeout = 20 * time.Second

// python says whether Python environments and the tests that compare with them can
// be used. Training needs none of it.
func python() Finding { return pythonFinding(interpreter()) }

// interpreter is the one that brood's tests use, in their order, then that of PATH.
func interpreter() string {
	if named := os.Getenv("BROOD_PYTHON"); named != "" {
		return named
	}
	if _, err := os.Stat(".venv/bin/python"); err == nil {
		return ".venv/bin/python"
	}
	return "python3"
}

const probe = `import importlib.metadata as m, sys
print("Python", sys.version.split()[0])
for p in sys.argv[1:]:
    try: print(p, m.version(p))
    except m.PackageNotFoundError: print(p, "missing")
`

func pythonFinding(interpreter string) Finding {
	const purpose = "only Python environments and their tests need it"
	ctx, cancel := context.WithTimeout(context.Background(), pythonTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, interpreter, append([]string{"-c", probe}, pythonPackages...)...).Output()
	if errors.Is(err, exec.ErrNotFound) {
		return Finding{Name: "python", State: Missing, Text: "there is no " + interpreter + "; " + purpose, Fix: "apt-get install python3 python3-venv"}
	}
	if err != nil {
		return Finding{Name: "python", State: Missing, Text: fmt.Sprintf("%s does not work: %v; %s", interpreter, err, purpose), Fix: interpreter + " --version"}
	}
	var found, missing []string
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		if name, isMissing := strings.CutSuffix(strings.TrimSpace(line), " missing"); isMissing {
			missing = append(missing, name)
		} else {
			found = append(found, strings.TrimSpace(line))
		}
	}
	text := interpreter + ": " + strings.Join(found, ", ")
	if len(missing) > 0 {
		return Finding{Name: "python", State: Missing, Text: text + ", without " + strings.Join(missing, " and ") + "; " + purpose,
			Fix: interpreter + " -m pip install " + strings.Join(missing, " ")}
	}
	return ok("python", "%s", text)
}
