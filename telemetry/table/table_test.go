package table

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"brood/internal/pyenv"
	"brood/telemetry/internal/smallrun"
	"brood/train"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// readCSV is Python's csv module; numbers become numbers, empty cells null.
const readCSV = `
import csv, io, json, sys
def value(x):
    if x == "": return None
    try: return float(x)
    except ValueError: return x
rows = list(csv.DictReader(io.StringIO(sys.stdin.read(), newline=""), strict=True))
assert all(None not in r and None not in r.values() for r in rows), "a row is longer or shorter than the header"
print(json.dumps([{k: value(v) for k, v in r.items()} for r in rows]))
`

// jsonLines are the objects of a log.
func jsonLines(t *testing.T, dir, name string) (lines []map[string]any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		var v map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &v))
		lines = append(lines, v)
	}
	return lines
}

func TestCSVIsReadByPython(t *testing.T) {
	dir := smallrun.Train(t, smallrun.Config(t), "a")
	var out bytes.Buffer
	cut, err := WriteMetrics(&out, dir)
	require.NoError(t, err)
	require.False(t, cut)
	var rows []map[string]any
	require.NoError(t, json.Unmarshal(pyenv.Run(t, readCSV, out.Bytes()), &rows))
	require.Equal(t, jsonLines(t, dir, metricsFile), rows, "every figure of every line, and no other")
	header, _, _ := strings.Cut(out.String(), "\n")
	require.Equal(t, strings.Join(train.MetricNames(), ",")+",clip_range", header)

	out.Reset()
	_, err = WriteDecisions(&out, dir)
	require.NoError(t, err)
	rows = nil
	require.NoError(t, json.Unmarshal(pyenv.Run(t, readCSV, out.Bytes()), &rows))
	lines := jsonLines(t, dir, decisionsFile)
	require.NotEmpty(t, lines)
	require.Len(t, rows, len(lines))
	for i, line := range lines {
		row := rows[i]
		for _, same := range []string{"update", "env_steps", "interval", "member", "source", "member_score", "source_score", "optimizer_strategy"} {
			require.Equal(t, line[same], row[same], same)
		}
		change := line["hyperparameters"].(map[string]any)["clip_range"].(map[string]any)
		for _, part := range []string{"before", "source", "operation", "after"} {
			require.Equal(t, change[part], row["clip_range_"+part])
		}
		outcome := line["outcome"].(map[string]any)
		require.Equal(t, outcome["source_return"], row["outcome_source_return"])
		require.Equal(t, outcome["after"].([]any)[1].(map[string]any)["mean"], row["outcome_return_after_5"])
		if success, known := outcome["success"].(bool); known {
			require.Equal(t, map[bool]string{true: "true", false: "false"}[success], row["outcome_success"])
		} else {
			require.Nil(t, row["outcome_success"])
		}
		require.Equal(t, "false", row["quarantined"])
	}
}

func TestALastLineThatIsNotWholeIsLeftOut(t *testing.T) {
	dir := smallrun.Train(t, smallrun.Config(t), "a")
	for name, write := range map[string]func(*bytes.Buffer) (bool, error){
		metricsFile:   func(b *bytes.Buffer) (bool, error) { return WriteMetrics(b, dir) },
		decisionsFile: func(b *bytes.Buffer) (bool, error) { return WriteDecisions(b, dir) },
	} {
		var whole, short bytes.Buffer
		_, err := write(&whole)
		require.NoError(t, err)
		path := filepath.Join(dir, name)
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.NoError(t, os.Truncate(path, info.Size()-7))
		cut, err := write(&short)
		require.NoError(t, err)
		require.True(t, cut)
		lines := strings.SplitAfter(whole.String(), "\n")
		require.Equal(t, strings.Join(lines[:len(lines)-2], ""), short.String())
	}
}

func TestDamagedLogs(t *testing.T) {
	dir := smallrun.Train(t, smallrun.Config(t), "a")
	path := filepath.Join(dir, metricsFile)
	for line, want := range map[string]string{
		`{"update":1,"env_steps":2}x`: "metrics.jsonl:1: byte 27: want nothing after the object",
		`{"update":"one"}`:            "byte 11: want a number or null",
		`{"update":1`:                 "want , or }",
		`{"update":0x1}`:              "byte 11: want a number or null",
		`{"update":NaN}`:              "byte 11: want a number or null",
		``:                            "byte 1: want { at the start of an object",
		`{"luck":1}`:                  `the figure "luck" is not one of this version and configuration; valid: update, env_steps, member`,
		`{"a":` + strings.Repeat("1", maxLine) + `}`: "a line of more than 1048576 bytes",
	} {
		require.NoError(t, os.WriteFile(path, []byte(line+"\n"), 0o644))
		_, err := WriteMetrics(&bytes.Buffer{}, dir)
		require.ErrorContains(t, err, want)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, decisionsFile), []byte(`{"hyperparameters":{}}`+"\n"), 0o644))
	_, err := WriteDecisions(&bytes.Buffer{}, dir)
	require.ErrorContains(t, err, "decisions.jsonl:1: the hyperparameter learning_rate is missing")
	_, err = WriteMetrics(&bytes.Buffer{}, t.TempDir())
	require.ErrorIs(t, err, os.ErrNotExist)
}

// The scanner agrees with encoding/json on every flat object of numbers and nulls, and
// takes nothing that is no JSON.
func TestSplitAgreesWithJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := map[string]*float64{}
		var text bytes.Buffer
		for i, name := range rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z_]{1,9}`), 1, 8, rapid.ID[string]).Draw(t, "names") {
			var x *float64
			if rapid.Bool().Draw(t, "number") {
				v := rapid.Float64().Filter(func(f float64) bool { return !math.IsInf(f, 0) && !math.IsNaN(f) }).Draw(t, "x")
				x = &v
			}
			want[name] = x
			value, err := json.Marshal(x)
			require.NoError(t, err)
			if i > 0 {
				text.WriteByte(',')
			}
			text.WriteString(`"` + name + `":` + string(value))
		}
		line := []byte("{" + text.String() + "}")
		fields, err := split(line, nil)
		require.NoError(t, err)
		got := map[string]*float64{}
		for _, f := range fields {
			var x *float64
			require.NoError(t, json.Unmarshal(f.Text, &x))
			require.Equal(t, x == nil, f.Null())
			got[string(f.Name)] = x
		}
		require.Equal(t, want, got)

		at := rapid.IntRange(0, len(line)-1).Draw(t, "at")
		line[at] = rapid.Byte().Draw(t, "byte")
		if fields, err := split(line, nil); err == nil {
			assert.NotEmpty(t, fields)
			for _, f := range fields {
				require.True(t, json.Valid(f.Text), "%s", line)
			}
		}
	})
}

func FuzzSplit(f *testing.F) {
	f.Add([]byte(`{"a":1,"b":null}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		if fields, err := split(line, nil); err == nil {
			require.NotEmpty(t, fields)
		}
	})
}
