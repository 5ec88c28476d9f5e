package gym

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// PythonVariable names the interpreter where no option does.
const PythonVariable = "BROOD_PYTHON"

// Interpreter finds the Python that runs the environments: the one given, else that of
// BROOD_PYTHON, else that of the active virtual environment, else python3 on the path.
func Interpreter(given string) (string, error) {
	origin := "env.python"
	if given == "" {
		given, origin = os.Getenv(PythonVariable), PythonVariable
	}
	if active := os.Getenv("VIRTUAL_ENV"); given == "" && active != "" {
		given, origin = filepath.Join(active, "bin", "python"), "VIRTUAL_ENV"
	}
	if given == "" {
		given, origin = "python3", "PATH"
	}
	path, err := exec.LookPath(given)
	if err != nil {
		return "", &OptionError{"python", fmt.Sprintf(
			"no Python: %v (from %s); must be an interpreter with gymnasium, or one must be named by %s, an active virtual environment or be python3 on the path",
			err, origin, PythonVariable)}
	}
	return path, nil
}

// description is what the bridge says of an environment.
type description struct {
	Observations int `json:"observations"`
	Action       struct {
		Discrete bool       `json:"discrete"`
		N        int        `json:"n"`
		NVec     []int      `json:"nvec"`
		Low      []*float64 `json:"low"`
		High     []*float64 `json:"high"`
	} `json:"action"`
	Threshold *float64 `json:"threshold"`
	Gymnasium string   `json:"gymnasium"`
	Notes     []string `json:"notes"`
}

// refusal is why the bridge does not run an environment.
type refusal struct {
	Kind    string `json:"kind"`
	Message string `json:"message"`
	Python  string `json:"python"`
}

// probed remembers answers: importing Gymnasium takes a second, and a configuration is
// checked several times on its way to a run.
var probed struct {
	sync.Mutex
	answers map[string]*description
}

// probe asks Python to describe the environment.
func probe(o Options) (*description, error) {
	python, err := Interpreter(o.Python)
	if err != nil {
		return nil, err
	}
	c := o.bridgeConfig()
	c.Probe = true
	text, err := c.encode()
	if err != nil {
		return nil, err
	}
	probed.Lock()
	defer probed.Unlock()
	question := python + "\x00" + text
	if d, ok := probed.answers[question]; ok {
		return d, nil
	}
	p, err := startProcess(python, text, nil)
	if err != nil {
		return nil, &OptionError{"python", err.Error()}
	}
	defer p.kill()
	body, err := p.ready(o, python)
	if err != nil {
		return nil, err
	}
	d := &description{}
	if err := json.Unmarshal(body, d); err != nil {
		return nil, &OptionError{"python", fmt.Sprintf("%s answered %.200q: %v", python, body, err)}
	}
	if probed.answers == nil {
		probed.answers = map[string]*description{}
	}
	probed.answers[question] = d
	return d, nil
}

// ready waits for the first reply of a process that has just been started, and turns a
// refusal into the error of the option that is to blame.
func (p *process) ready(o Options, python string) ([]byte, error) {
	answer, err := p.reply(o.timeout())
	if err != nil {
		why := p.epitaph(err)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			why = fmt.Sprintf("no answer within %v (env.timeout)", o.timeout())
		}
		return nil, &OptionError{"python", fmt.Sprintf("%s does not run the bridge: %s", python, why)}
	}
	if answer.kind != replyRefused {
		return answer.body, nil
	}
	var r refusal
	if err := json.Unmarshal(answer.body, &r); err != nil {
		return nil, fmt.Errorf("gym: the bridge's refusal %.200q: %w", answer.body, err)
	}
	return nil, o.refused(python, &r)
}

// refused words a refusal.
func (o *Options) refused(python string, r *refusal) error {
	switch r.Kind {
	case "gymnasium", "numpy":
		return &OptionError{"python", fmt.Sprintf("%s (Python %s) has no %s: %s; `%s -m pip install gymnasium` installs it, or name another Python with env.python or %s",
			python, r.Python, r.Kind, r.Message, python, PythonVariable)}
	case "dependency":
		return &OptionError{"id", fmt.Sprintf("%q needs a package that %s does not have: %s", o.ID, python, r.Message)}
	case "wrappers", "kwargs":
		return &OptionError{r.Kind, r.Message}
	case "space":
		return &OptionError{"id", fmt.Sprintf("%q: %s; a wrapper (env.wrappers) may turn it into such a space", o.ID, r.Message)}
	}
	return &OptionError{"id", fmt.Sprintf("%q: %s", o.ID, r.Message)}
}
