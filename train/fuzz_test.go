package train

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"brood/presets"
)

// What reading a configuration may cost: the parser makes some hundred bytes for
// each of the text.
const (
	configFactor   = 4096
	configConstant = 4 << 20
	configTime     = 20 * time.Second
)

// requireCheap calls read and checks what it allocates and how long it takes. The
// time is generous: the machine may be busy.
func requireCheap(t *testing.T, size, factor, constant int, read func()) {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	before, start := sample[0].Value.Uint64(), time.Now()
	read()
	took := time.Since(start)
	metrics.Read(sample)
	used := sample[0].Value.Uint64() - before
	require.LessOrEqual(t, used, uint64(factor*size+constant), "bytes allocated for %d", size)
	require.Less(t, took, configTime, "time for %d bytes", size)
}

// requireReadable checks an error of a configuration.
func requireReadable(t *testing.T, err error) {
	var mistakes *ConfigError
	require.ErrorAs(t, err, &mistakes)
	require.ErrorIs(t, err, ErrConfig)
	lines := strings.Split(err.Error(), "\n")
	for _, line := range lines {
		require.LessOrEqual(t, len(line), 2*maxShown+maxProblem+200, "an error is to be read")
	}
	for _, m := range mistakes.Mistakes {
		require.NotEmpty(t, m.Error())
	}
	require.LessOrEqual(t, len(mistakes.Mistakes), maxMistakes+1)
}

// requireRoundTrip checks that an accepted configuration written out is the same.
func requireRoundTrip(t *testing.T, c Config) {
	text, err := c.YAML()
	require.NoError(t, err)
	back, err := Load("written", text, nil)
	require.NoError(t, err, "%s", text)
	c.places, back.places = nil, nil
	require.Equal(t, c, back)
	again, err := back.YAML()
	require.NoError(t, err)
	require.Equal(t, string(text), string(again))
	engine, err := c.EngineConfig()
	require.NoError(t, err)
	require.Positive(t, engine.Rows())
	require.Positive(t, c.TotalUpdates())
}

// FuzzConfig: any text is a valid configuration, which survives being written, or
// refused with a mistake per line; neither takes memory or time beyond its size.
func FuzzConfig(f *testing.F) {
	for _, name := range presets.Names() {
		p, ok := presets.Find(name)
		require.True(f, ok)
		text, err := p.YAML()
		require.NoError(f, err)
		f.Add(text)
	}
	text, err := DefaultConfig().YAML()
	require.NoError(f, err)
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		var c Config
		var err error
		requireCheap(t, len(text), configFactor, configConstant, func() { c, err = Load("fuzz.yaml", text, nil) })
		if err != nil {
			requireReadable(t, err)
			return
		}
		requireRoundTrip(t, c)
	})
}

// FuzzSettings: the same for arguments of --set, one a line.
func FuzzSettings(f *testing.F) {
	for _, text := range []string{"ppo.gamma=0.9\nppo.learning_rate=1e-3", "pbt.hyperparameters=[]", "pbt.hyperparameters.0.min=1e-5",
		"policy.hidden=[4, 4]\nenv.id=Pendulum-v1", "run.schedule=[{update: 1, name: gamma, value: 0.9}]", "env.hyperparameters.x=1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		args := strings.Split(text, "\n")
		if len(args) > 100 {
			args = args[:100]
		}
		var c Config
		var err error
		requireCheap(t, len(text)+1000*len(args), configFactor, configConstant, func() {
			var settings []Setting
			if settings, err = ParseSettings(args); err == nil {
				c, err = Load("", nil, settings)
			}
		})
		if err != nil {
			requireReadable(t, err)
			return
		}
		requireRoundTrip(t, c)
	})
}

// FuzzDecisions: decisions.jsonl of any content is read, or refused with the line;
// lines that are read are of members there can be, in order.
func FuzzDecisions(f *testing.F) {
	const line = `{"update":10,"env_steps":640,"interval":0,"member":1,"source":0,"member_score":null,"source_score":2.5,"optimizer_strategy":"reset",` +
		`"configured_strategy":"adaptive","hyperparameters":{"learning_rate":{"before":0.1,"source":0.2,"operation":"perturb up","after":0.3}},` +
		`"outcome":{"source_return":1,"after":[{"updates":1,"mean":null}],"success":null}}   ` + "\n"
	f.Add([]byte(line + strings.Replace(line, ":10,", ":20,", 1)))
	f.Add([]byte(line + line[:40]))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(dir, decisionsFile)
		require.NoError(t, os.WriteFile(path, data, 0o644))
		var lines []DecisionLine
		var err error
		requireCheap(t, len(data), 512, 4<<20, func() { lines, err = ReadDecisions(dir) })
		if err != nil {
			require.ErrorContains(t, err, path+":")
			require.Less(t, len(err.Error()), len(path)+1000)
			require.Nil(t, lines)
			return
		}
		require.LessOrEqual(t, len(lines), strings.Count(string(data), "\n"))
		last := int64(1)
		for _, l := range lines {
			require.GreaterOrEqual(t, l.Update, last)
			require.NotEqual(t, l.Member, l.Source)
			last = l.Update
		}
	})
}

// The seeds of hostile texts are made here: some are large.
func TestHostileConfigurationsAreRefused(t *testing.T) {
	repeat := strings.Repeat
	for name, test := range map[string]struct{ text, want string }{
		"size":                {repeat("#\n", 1) + repeat("# comment of some length\n", 50_000), "bytes of YAML; a configuration has at most 1048576"},
		"lines":               {repeat("\n", 40_001), "40001 lines of YAML"},
		"line":                {"env: {id: " + repeat("x", 20_000) + "}", "line 1: 20011 bytes; a line has at most 16384"},
		"brackets":            {"policy:\n  hidden: " + repeat("[", 1000), "line 2: nested more than 64 deep"},
		"braces over lines":   {repeat("{a:\n", 100), "nested more than 64 deep"},
		"after a quoted mark": {`"a #": ` + repeat("[", 1000), "nested more than 64 deep"},
		"dashes":              {repeat("- ", 1000), "nested more than 64 deep"},
		"questions":           {repeat("? ", 1000), "nested more than 64 deep"},
		"indentation": {func() (s string) {
			for i := range 100 {
				s += repeat(" ", i) + "a:\n"
			}
			return s
		}(), "nested more than 64 deep"},
		"keys": {func() (s string) {
			for i := range 1001 {
				s += fmt.Sprintf("k%d: 1\n", i)
			}
			return s
		}(), "line 1001: more than 1000 keys side by side"},
		"items":          {"policy: {hidden: [" + repeat("1, 1, 1, 1, 1, 1, 1, 1, 1, 1,\n", 2001) + "]}", "more than 20000 items within brackets"},
		"mistakes":       {repeat("a: 1\n", 1) + "policy: {hidden: [" + repeat("x, ", 300) + "]}", "and 201 more mistakes"},
		"doubling":       {"a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nenv: *c", "anchors, aliases and tags are not supported"},
		"layers":         {"policy: {hidden: [" + repeat("1,", 300) + "]}", "policy.hidden: 300 is not valid: must be a list of at most 256 layers"},
		"memory":         {"policy: {hidden: [65536, 65536]}\npbt: {population_size: 65536}", "pbt.population_size: 65536 members take"},
		"rollouts":       {"env: {count: 32768}\nppo: {steps: 65535, minibatches: 1}\npbt: {population_size: 65536}", "of rollouts"},
		"a prime":        {"env: {count: 1}\nppo: {steps: 2147483647, minibatches: 7}", "must divide steps*count = 2147483647 into minibatches of at least 2 rows, which normalize_advantage needs (1)"},
		"long unknown":   {"env: {id: " + repeat("x", 10_000) + "}", "(10"},
		"steps overflow": {"env: {count: 9223372036854775807}\nppo: {steps: 9223372036854775807}\npbt: {population_size: 9223372036854775807}", "env.count: 9223372036854775807 is not valid"},
	} {
		t.Run(name, func(t *testing.T) {
			var err error
			requireCheap(t, len(test.text), configFactor, configConstant, func() { _, err = Load("hostile.yaml", []byte(test.text), nil) })
			require.ErrorContains(t, err, test.want)
			requireReadable(t, err)
		})
	}
	comment := "# " + repeat("- ", 100) + repeat("[", 100) + "\n#" + repeat("-", 200) + "\n"
	_, err := Load("comment.yaml", []byte(comment), nil)
	require.NoError(t, err, "a comment nests nothing")
	var long strings.Builder
	long.WriteString("pbt: {hyperparameters: []}\nrun:\n  schedule:\n")
	for i := range 10_000 {
		fmt.Fprintf(&long, "    - update: %d\n      name: learning_rate\n      value: 0.0012345678901234\n", i)
	}
	cfg, err := Load("long.yaml", []byte(long.String()), nil)
	require.NoError(t, err, "the longest schedule")
	require.Len(t, cfg.Run.Schedule, 10_000)
	require.False(t, errors.Is(err, ErrConfig))
}
