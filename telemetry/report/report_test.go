package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"brood/telemetry/internal/smallrun"
	"brood/train"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func written(t *testing.T, dirs ...string) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, Write(&b, dirs))
	return b.String()
}

// charts are the SVG elements, each well-formed XML.
func charts(t *testing.T, text string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, m := range regexp.MustCompile(`(?s)<svg .*?aria-label="([^"]*)">.*?</svg>`).FindAllStringSubmatch(text, -1) {
		d := xml.NewDecoder(strings.NewReader(m[0]))
		for {
			_, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err, m[1])
		}
		found[m[1]] = m[0]
	}
	return found
}

func TestReportOfARun(t *testing.T) {
	dir := smallrun.Train(t, smallrun.Config(t), `a<b>&"c`)
	text := written(t, dir)
	all := charts(t, text)
	for _, name := range []string{"Return of every member over environment steps", "learning_rate", "clip_range", "Policy loss", "Value loss", "Entropy (nats)", "KL divergence",
		"The family: who copied whom"} {
		require.Contains(t, all, name)
		assert.NotContains(t, all[name], "NaN")
		assert.NotContains(t, all[name], "Inf")
	}
	returns := all["Return of every member over environment steps"]
	for m := range 4 {
		assert.Contains(t, returns, fmt.Sprintf(`data-m="%d" d="M`, m))
	}
	var summary train.Summary
	data, err := os.ReadFile(filepath.Join(dir, "summary.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &summary))
	exploits := regexp.MustCompile(`class="exploit" d="([^"]*)"`).FindStringSubmatch(returns)
	require.NotNil(t, exploits)
	assert.EqualValues(t, summary.Exploits, strings.Count(exploits[1], "M"), "every exploit is marked")
	assert.Contains(t, text, fmt.Sprintf("<b>%.1f</b>", summary.Best.MeanReturn))
	assert.Contains(t, text, fmt.Sprintf(`<tr data-m="%d" class="lead">`, summary.Best.Member))
	assert.Contains(t, text, "<td>reset</td>")
	assert.Contains(t, text, "perturbation_interval: 3", "the configuration")
	assert.Contains(t, text, "a&lt;b&gt;&amp;", "names are escaped")
	assert.False(t, strings.Contains(text, "a<b>"))
	// The learning rate is drawn on the scale that it is drawn from.
	assert.Contains(t, text, "learning_rate <small>log scale</small>")
	assert.Contains(t, text, "clip_range <small></small>")
}

// The file is complete in itself: nothing in it asks another place for anything.
func TestReportIsSelfContained(t *testing.T) {
	text := written(t, smallrun.Train(t, smallrun.Config(t), "a"))
	for _, outside := range []string{"http://", "https://", "src=", "@import", "url(", "<link", "fetch(", "XMLHttpRequest"} {
		assert.False(t, strings.Contains(text, outside), outside)
	}
}

func TestReportOfSeveralRunsAndOfOneThatHasNotEnded(t *testing.T) {
	a, b := smallrun.Train(t, smallrun.Config(t), "a"), smallrun.Train(t, smallrun.Config(t, "pbt.enabled=false"), "b")
	require.NoError(t, os.Remove(filepath.Join(b, "summary.json")))
	path := filepath.Join(b, "metrics.jsonl")
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(path, info.Size()-9))
	text := written(t, a, b)
	before, _, _ := strings.Cut(text, `<article id="run0">`)
	assert.Contains(t, before, `<a href="#run1">`)
	lines := regexp.MustCompile(`<path class="compared (strong )?f(\d)" d="(M[^"]+)">`).FindAllStringSubmatch(before, -1)
	require.Len(t, lines, 4, "best and median of each run")
	assert.Equal(t, []string{"0", "0", "1", "1"}, []string{lines[0][2], lines[1][2], lines[2][2], lines[3][2]})
	assert.Contains(t, before, "<td>pbt.enabled</td><td>true</td><td>false</td>")
	assert.NotContains(t, before, "<td>env.id</td>", "the same in both")
	_, second, _ := strings.Cut(text, `<article id="run1">`)
	assert.Contains(t, second, "goes on, or was killed")
	assert.Contains(t, second, "ends in the middle of a line")
	assert.Contains(t, second, "There are no figures")
	assert.False(t, strings.Contains(second, `class="exploit"`), "nobody copied")

	require.NoError(t, os.Truncate(path, 0))
	assert.Contains(t, written(t, b), "No update is done yet")
	require.NoError(t, os.WriteFile(path, []byte(`{"update":2,"member":9}`+"\n"), 0o644))
	err = Write(io.Discard, []string{b})
	require.ErrorContains(t, err, "is not of update 1")
	err = Write(io.Discard, []string{filepath.Join(t.TempDir(), "nowhere")})
	require.ErrorIs(t, err, os.ErrNotExist)
}

// Averages over any number of updates in bounded memory: the mean of what was added to a
// stretch of updates, and no stretch is lost.
func TestBuckets(t *testing.T) {
	b := newBuckets(1, 1)
	const updates = 10_000
	for u := int64(1); u <= updates; u++ {
		if u%7 != 0 {
			b.add(0, 0, u, float64(u))
		}
	}
	require.EqualValues(t, 32, b.each)
	us, ys := b.points(0, 0, maxBuckets)
	require.Len(t, us, (updates+31)/32)
	for i, u := range us[:len(us)-1] {
		require.InDelta(t, float64(u)-15.5, ys[i], 1)
	}
	us, _ = b.points(0, 0, 10)
	require.LessOrEqual(t, len(us), 10)
	for limit := range 300 {
		us, _ = b.points(0, 0, limit+1)
		require.EqualValues(t, 313*32, us[len(us)-1], "the end is there")
		if n := len(us); n > 2 {
			require.GreaterOrEqual(t, 2*(us[n-1]-us[n-2]), us[1]-us[0], "the last stretch is no short one")
		}
	}
	b = newBuckets(1, 1)
	b.add(0, 0, 3, 5)
	_, ys = b.points(0, 0, maxBuckets)
	require.Equal(t, "[NaN NaN 5]", fmt.Sprint(ys), "what was not there is a gap")
}

// Every axis holds its values, and has ticks within.
func TestAxis(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Float64Range(-1e6, 1e9), 1, 20).Draw(t, "values")
		log := rapid.SampledFrom([]*bool{nil, new(bool)}).Draw(t, "log")
		a := newAxis(append(values, math.NaN()), log, 100, 0)
		for _, x := range values {
			require.True(t, a.holds(x))
			require.GreaterOrEqual(t, a.at(x), -1e-6)
			require.LessOrEqual(t, a.at(x), 100+1e-6)
		}
		ticks := a.ticks(5)
		require.NotEmpty(t, ticks)
		require.LessOrEqual(t, len(ticks), 40)
		for _, x := range ticks {
			require.InDelta(t, 50, a.at(x), 51)
		}
	})
	require.Equal(t, []string{"0.691", "0.6915", "0.692"}, labels([]float64{0.691, 0.6915, 0.692}))
	require.Equal(t, []string{"-1", "0", "1"}, labels(newAxis([]float64{0, 0}, nil, 0, 1).ticks(2)))
	yes := true
	a := newAxis([]float64{1e-5, 1e-2}, &yes, 0, 1)
	require.True(t, a.log)
	require.InDelta(t, 0.5, a.at(math.Sqrt(1e-7)), 1e-9)
	require.False(t, newAxis([]float64{0, 1}, &yes, 0, 1).log, "zero has no logarithm")
}
