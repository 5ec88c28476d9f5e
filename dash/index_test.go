package dash

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// metricLine is a line as a run writes it, of a few figures.
func metricLine(update, member int, score string, more string) string {
	return fmt.Sprintf(`{"update":%d,"env_steps":%d,"member":%d,"train_return":%s,"entropy":-0.5e-3%s}`+"\n", update, update*100, member, score, more)
}

func writeMetrics(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "metrics.jsonl")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	return path
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString(text)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

func TestNumbersAreThoseOfStrconv(t *testing.T) {
	for _, text := range []string{"0", "-0", "1", "-12.5", "0.1", "1e-05", "1.5E+3", "123456789012345678901234", "0.00000000000000000000000000001234",
		"19.193181818181817", "0.0070059344", "1e22", "3.4028235e38", "9007199254740993"} {
		got, n := parseNumber([]byte(text + ",rest"))
		want, err := strconv.ParseFloat(text, 64)
		require.NoError(t, err)
		assert.Equal(t, len(text), n, text)
		assert.InDelta(t, want, got, math.Abs(want)*1e-15, text)
	}
	got, n := parseNumber([]byte("null}"))
	assert.True(t, math.IsNaN(got) && n == 4)
	for _, text := range []string{"", "-", ".5", "1.", "e5", "1e", "1e+", "x", "nul", "\"1\""} {
		_, n := parseNumber([]byte(text))
		assert.Zero(t, n, text)
	}
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.Float64().Draw(t, "number")
		bits := rapid.SampledFrom([]int{32, 64}).Draw(t, "bits")
		if bits == 32 {
			want = float64(float32(want))
		}
		if math.IsInf(want, 0) {
			return
		}
		text := strconv.FormatFloat(want, 'g', -1, bits)
		got, n := parseNumber([]byte(text + "}"))
		parsed, _ := strconv.ParseFloat(text, 64)
		if n != len(text) || math.Abs(got-parsed) > math.Abs(parsed)*1e-15 {
			t.Fatalf("%s: got %v and %d bytes of %d", text, got, n, len(text))
		}
	})
}

// The file is read as it grows, in the middle of lines and of updates.
func TestIndexFollowsTheFile(t *testing.T) {
	lines := ""
	for u := 1; u <= 7; u++ {
		for m := range 3 {
			lines += metricLine(u, m, strconv.Itoa(10*u+m), "")
		}
	}
	path := writeMetrics(t, "")
	x := newIndex(path, 3, false)
	for at := 0; at < len(lines); at += 37 {
		appendTo(t, path, lines[at:min(at+37, len(lines))])
		_, err := x.refresh()
		require.NoError(t, err)
	}
	assert.EqualValues(t, 7, x.updates())
	assert.Equal(t, []string{"train_return", "entropy"}, x.names)
	want := []float32{}
	for u := 1; u <= 7; u++ {
		want = append(want, float32(10*u), float32(10*u+1), float32(10*u+2))
	}
	assert.Equal(t, want, x.columns["train_return"])
	assert.Equal(t, []float32{12, 22, 32, 42, 52, 62, 72}, x.best)
	assert.Equal(t, []float32{11, 21, 31, 41, 51, 61, 71}, x.median)
	member, ok := x.bestMember(7)
	assert.True(t, ok)
	assert.Equal(t, 2, member)
	grown, err := x.refresh()
	require.NoError(t, err)
	assert.False(t, grown, "nothing is new")
	assert.Equal(t, 1, x.generation)
}

// Parts that are read side by side come to the same as one.
func TestIndexReadsPartsInOrder(t *testing.T) {
	var text []byte
	const updates, population = 9000, 16
	for u := 1; u <= updates; u++ {
		for m := range population {
			text = append(text, metricLine(u, m, strconv.Itoa(u*population+m), "")...)
		}
	}
	require.Greater(t, len(text), 2*blockBytes)
	x := newIndex(writeMetrics(t, string(text)), population, false)
	_, err := x.refresh()
	require.NoError(t, err)
	require.EqualValues(t, updates, x.updates())
	for i, v := range x.columns["train_return"] {
		require.Equal(t, float32(i+population), v)
	}
}

// A resumed run cuts the file and writes it anew from there; whether it has grown
// longer again when it is looked at must not matter.
func TestIndexOfAFileThatWasCut(t *testing.T) {
	for name, after := range map[string]string{
		"shorter": metricLine(1, 0, "5", ""),
		"longer":  metricLine(1, 0, "5", "") + metricLine(2, 0, "7", "") + metricLine(3, 0, "8", ""),
	} {
		t.Run(name, func(t *testing.T) {
			path := writeMetrics(t, metricLine(1, 0, "5", "")+metricLine(2, 0, "6", ""))
			x := newIndex(path, 1, false)
			_, err := x.refresh()
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path, []byte(after), 0o644))
			grown, err := x.refresh()
			require.NoError(t, err)
			assert.True(t, grown)
			assert.Equal(t, 2, x.generation)
			if name == "longer" {
				assert.Equal(t, []float32{5, 7, 8}, x.columns["train_return"])
			} else {
				assert.Equal(t, []float32{5}, x.columns["train_return"])
			}
		})
	}
}

func TestNamesThatComeLater(t *testing.T) {
	path := writeMetrics(t, metricLine(1, 0, "null", "")+metricLine(2, 0, "6", `,"gamma":0.9`)+metricLine(3, 0, "7", ""))
	x := newIndex(path, 1, false)
	_, err := x.refresh()
	require.NoError(t, err)
	appendTo(t, path, metricLine(4, 0, "8", `,"clip_range":0.25`))
	_, err = x.refresh()
	require.NoError(t, err)
	nan := float32(math.NaN())
	for name, want := range map[string][]float32{"train_return": {nan, 6, 7, 8}, "gamma": {nan, 0.9, nan, nan}, "clip_range": {nan, nan, nan, 0.25}} {
		require.Len(t, x.columns[name], 4, name)
		for i, v := range want {
			assert.Equal(t, math.Float32bits(v), math.Float32bits(x.columns[name][i]), "%s at update %d", name, i+1)
		}
	}
}

func TestDamagedMetrics(t *testing.T) {
	ok := metricLine(1, 0, "5", "") + metricLine(1, 1, "6", "")
	for name, c := range map[string]struct{ text, want string }{
		"no object":      {ok + "hello\n", "want an object of numbers"},
		"text":           {ok + metricLine(2, 0, `"a"`, ""), "want an object of numbers"},
		"missing member": {ok + metricLine(2, 1, "5", ""), "does not follow"},
		"no such member": {ok + metricLine(2, 2, "5", ""), "the members are 0 to 1"},
		"twice":          {ok + ok, "does not follow"},
		"begins late":    {metricLine(2, 0, "5", ""), "want update 1 of member 0"},
		"other names":    {`{"a":1,"b":2,"c":3}` + "\n", "begins with the names"},
		"endless line":   {ok + string(make([]byte, maxLine+1)), "a line of more than"},
	} {
		t.Run(name, func(t *testing.T) {
			path := writeMetrics(t, c.text)
			_, err := newIndex(path, 2, false).refresh()
			require.Error(t, err)
			assert.Contains(t, err.Error(), path)
			assert.Contains(t, err.Error(), c.want)
		})
	}
	_, err := newIndex(filepath.Join(t.TempDir(), "none"), 2, false).refresh()
	assert.NoError(t, err, "a run that has just begun has no metrics yet")
}

// decoded is a history as a page sees it.
type decoded struct {
	historyHead
	points       []uint32
	best, median []float32
	curves       map[string][][]float32
}

func decodeHistory(t *testing.T, data []byte) decoded {
	t.Helper()
	var d decoded
	n := binary.LittleEndian.Uint32(data)
	require.NoError(t, json.Unmarshal(data[4:4+n], &d.historyHead))
	require.Zero(t, n%4)
	at := int(4 + n)
	word := func() uint32 { v := binary.LittleEndian.Uint32(data[at:]); at += 4; return v }
	floats := func() []float32 {
		v := make([]float32, d.Points)
		for i := range v {
			v[i] = math.Float32frombits(word())
		}
		return v
	}
	for range d.Points {
		d.points = append(d.points, word())
	}
	d.best, d.median = floats(), floats()
	d.curves = map[string][][]float32{}
	for _, name := range d.Metrics {
		for range d.Members {
			d.curves[name] = append(d.curves[name], floats())
		}
	}
	require.Len(t, data, at)
	return d
}

func indexOf(t *testing.T, population, updates int, value func(u, m int) float64) *index {
	t.Helper()
	var text []byte
	for u := 1; u <= updates; u++ {
		for m := range population {
			score := "null"
			if v := value(u, m); !math.IsNaN(v) {
				score = strconv.FormatFloat(v, 'g', -1, 64)
			}
			text = append(text, metricLine(u, m, score, "")...)
		}
	}
	x := newIndex(writeMetrics(t, string(text)), population, false)
	_, err := x.refresh()
	require.NoError(t, err)
	return x
}

// Thinning out keeps a peak and a trough of one update wherever they are, in order.
func TestHistoryKeepsEveryPeak(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		updates := rapid.IntRange(1, 300).Draw(rt, "updates")
		peak := rapid.IntRange(1, updates).Draw(rt, "peak")
		trough := rapid.IntRange(1, updates).Draw(rt, "trough")
		x := indexOf(t, 2, updates, func(u, m int) float64 {
			switch {
			case m == 1 && u == peak:
				return 1000
			case m == 1 && u == trough:
				return -1000
			}
			return float64(u)
		})
		data, err := (&history{Metrics: []string{"train_return"}, From: 1, To: math.MaxInt64, Buckets: 20}).encode(x)
		require.NoError(rt, err)
		d := decodeHistory(t, data)
		assert.LessOrEqual(rt, d.Points, 40)
		curve := d.curves["train_return"][1]
		at := map[float32]int{}
		for i, v := range curve {
			at[v] = i
		}
		require.Contains(rt, at, float32(1000))
		bucketWidth := float64(updates)/20 + 1
		assert.InDelta(rt, peak, float64(d.points[at[1000]]), bucketWidth)
		if trough != peak {
			require.Contains(rt, at, float32(-1000))
			assert.Equal(rt, trough < peak, at[-1000] < at[1000], "their order")
		}
		for i := 1; i < d.Points; i++ {
			require.Less(rt, d.points[i-1], d.points[i])
		}
	})
}

func TestHistoryOfARangeIsExactWhereItFits(t *testing.T) {
	x := indexOf(t, 3, 500, func(u, m int) float64 {
		if m == 2 && u == 105 {
			return math.NaN()
		}
		return float64(u*10 + m)
	})
	data, err := (&history{Metrics: []string{"train_return", "entropy"}, From: 101, To: 120, Buckets: 10}).encode(x)
	require.NoError(t, err)
	d := decodeHistory(t, data)
	require.Equal(t, 20, d.Points)
	for i, u := range d.points {
		require.EqualValues(t, 101+i, u)
		require.Equal(t, float32(u*10+1), d.curves["train_return"][1][i])
	}
	assert.True(t, math.IsNaN(float64(d.curves["train_return"][2][4])))
	assert.Equal(t, float32(1052-1), d.best[4])
	assert.InDelta(t, -0.0005, d.curves["entropy"][0][0], 1e-9)
	_, err = (&history{Metrics: []string{"nothing"}, From: 1, To: 5, Buckets: 10}).encode(x)
	assert.ErrorContains(t, err, `no metric "nothing"`)
}

func TestDrawnMembersOfALargePopulation(t *testing.T) {
	assert.Equal(t, []int{0, 1, 2}, drawn(3))
	members := drawn(1000)
	assert.Len(t, members, maxDrawn)
	for i := 1; i < len(members); i++ {
		assert.Less(t, members[i-1], members[i])
	}
	assert.Less(t, members[maxDrawn-1], 1000)
}
