package train

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"

	"brood/internal/stats"
	"brood/pbt"
)

// DecisionLine is a line of decisions.jsonl: one exploit.
type DecisionLine struct {
	Update   int64 `json:"update"`
	EnvSteps int64 `json:"env_steps"`
	Interval int   `json:"interval"`
	Member   int   `json:"member"`
	Source   int   `json:"source"`
	// Operation is [OperationFill] or [OperationMove] where the number of members was
	// changed, and empty for an exploit of an interval.
	Operation   string   `json:"operation,omitempty"`
	MemberScore *float64 `json:"member_score"`
	SourceScore *float64 `json:"source_score"`
	// OptimizerStrategy is what was done to the member's optimizer state,
	// ConfiguredStrategy what the configuration says: they differ under adaptive.
	OptimizerStrategy  pbt.Strategy `json:"optimizer_strategy"`
	ConfiguredStrategy pbt.Strategy `json:"configured_strategy"`
	// ScaleMomentum is true where the mean was scaled with the learning rate.
	ScaleMomentum bool `json:"scale_momentum"`
	// Quarantined is true for a member whose weights were not finite.
	Quarantined bool `json:"quarantined"`
	// MemberReevaluated and SourceReevaluated are the fresh scores that
	// pbt.exploit_reevaluate asked for.
	MemberReevaluated *float64                        `json:"member_reevaluated,omitempty"`
	SourceReevaluated *float64                        `json:"source_reevaluated,omitempty"`
	Hyperparameters   map[string]HyperparameterChange `json:"hyperparameters"`
	// Outcome is nil until the first figure after the exploit is there.
	Outcome *Outcome `json:"outcome"`
}

// HyperparameterChange is what became of one: the member's before (NaN, in JSON
// null: there was no such member), the source's, and what the operation made of it
// for the member.
type HyperparameterChange struct {
	Before    float64 `json:"before"`
	Source    float64 `json:"source"`
	Operation string  `json:"operation"`
	After     float64 `json:"after"`
}

type changeFields HyperparameterChange

type changeJSON struct {
	Before *float64 `json:"before"`
	changeFields
}

// MarshalJSON writes a Before that is NaN as null.
func (c HyperparameterChange) MarshalJSON() ([]byte, error) {
	return json.Marshal(changeJSON{stats.OrNil(c.Before), changeFields(c)})
}

// UnmarshalJSON reads null, or no before, as NaN.
func (c *HyperparameterChange) UnmarshalJSON(data []byte) error {
	var v changeJSON
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	*c = HyperparameterChange(v.changeFields)
	c.Before = math.NaN()
	if v.Before != nil {
		c.Before = *v.Before
	}
	return nil
}

// Outcome is how a member did after an exploit, in deterministic episodes (their
// number is pbt.telemetry_episodes) from the same starting states as its source
// played at the moment of copying.
type Outcome struct {
	// SourceReturn is the source's mean return at the moment of copying.
	SourceReturn float64 `json:"source_return"`
	// After are the member's; a mean is nil until it was played, and for good where
	// the member copied another, or the run ended, before.
	After []ReturnAfter `json:"after"`
	// Success is true where the last mean is not lower than the source's by more
	// than 1.96 standard errors of the paired differences.
	Success *bool `json:"success"`
}

// ReturnAfter is a mean return some updates after an exploit.
type ReturnAfter struct {
	Updates int64    `json:"updates"`
	Mean    *float64 `json:"mean"`
}

func (r *Run) decisionLine(d pbt.Decision) DecisionLine {
	line := DecisionLine{Update: r.updates, EnvSteps: r.envSteps(), Interval: d.Interval, Member: d.Member, Source: d.Source,
		MemberScore: stats.OrNil(d.MemberScore), SourceScore: stats.OrNil(d.SourceScore),
		OptimizerStrategy: d.Strategy, ConfiguredStrategy: d.Configured, ScaleMomentum: d.ScaleMomentum, Quarantined: d.Quarantined,
		MemberReevaluated: d.MemberReevaluated, SourceReevaluated: d.SourceReevaluated,
		Hyperparameters: make(map[string]HyperparameterChange, len(d.After))}
	for name, after := range d.After {
		before, existed := d.Before[name]
		if !existed {
			before = math.NaN()
		}
		line.Hyperparameters[name] = HyperparameterChange{before, d.SourceValues[name], d.Operations[name], after}
	}
	return line
}

// roomForOutcome is how much longer a line can become when its outcome is known:
// the line is written with that many spaces at its end, which JSON allows, and
// later rewritten in its place. So every exploit is one line, there at once.
const roomForOutcome = 320

// encode writes the line in exactly size bytes, the end of the line included; 0:
// as long as it is, with room for an outcome.
func (l *DecisionLine) encode(size int) ([]byte, error) {
	text, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	if size == 0 {
		size = len(text) + roomForOutcome + 1
	}
	if len(text)+1 > size {
		return nil, fmt.Errorf("the outcome of member %d's exploit at update %d takes %d bytes; there is room for %d", l.Member, l.Update, len(text), size-1)
	}
	text = append(text, bytes.Repeat([]byte{' '}, size-1-len(text))...)
	return append(text, '\n'), nil
}

// maxDecisionLine bounds what a line of decisions.jsonl may take in memory.
const maxDecisionLine = 1 << 20

// ReadDecisions reads the exploits of a run folder, in the order in which they
// were carried out. A last line that is not complete, of a run that was killed or
// goes on, is left out. Every other defect is an error that names the line.
func ReadDecisions(dir string) ([]DecisionLine, error) {
	path := filepath.Join(dir, decisionsFile)
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("train: the run's exploits: %w", err)
	}
	defer f.Close()
	var lines []DecisionLine
	r := bufio.NewReaderSize(f, maxDecisionLine)
	for number := 1; ; number++ {
		text, err := r.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF):
			return lines, nil
		case errors.Is(err, bufio.ErrBufferFull):
			return nil, fmt.Errorf("%s:%d: a line of more than %d bytes", path, number, maxDecisionLine)
		case err != nil:
			return nil, fmt.Errorf("%s:%d: %w", path, number, err)
		}
		var l DecisionLine
		if err := json.Unmarshal(text, &l); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, number, err)
		}
		if err := l.check(lines); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, number, err)
		}
		lines = append(lines, l)
	}
}

func (l *DecisionLine) check(before []DecisionLine) error {
	switch n := len(before); {
	case l.Member < 0 || l.Member >= pbt.MaxPopulation || l.Source < 0 || l.Source >= pbt.MaxPopulation || l.Member == l.Source:
		return fmt.Errorf("member %d cannot have copied member %d", l.Member, l.Source)
	case l.Update < 1 || n > 0 && l.Update < before[n-1].Update:
		return fmt.Errorf("update %d out of order", l.Update)
	}
	if op := l.Operation; op != "" && op != OperationFill && op != OperationMove {
		return fmt.Errorf("operation %q; valid: %s, %s, or none for an exploit of an interval", op, OperationFill, OperationMove)
	}
	for name, h := range l.Hyperparameters {
		if math.IsNaN(h.After) || math.IsInf(h.After, 0) {
			return fmt.Errorf("hyperparameter %s is not finite", name)
		}
	}
	return nil
}
