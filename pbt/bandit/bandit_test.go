package bandit

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vmihailenco/msgpack/v5"
	"pgregory.net/rapid"
)

// uniform gives the same numbers for the same seed.
func uniform(seed uint64) func() float64 { return rand.New(rand.NewPCG(seed, 0)).Float64 }

// normals gives n standard normal numbers.
func normals(seed uint64, n int) []float64 {
	r := rand.New(rand.NewPCG(seed, 1))
	v := make([]float64, n)
	for i := range v {
		v[i] = r.NormFloat64()
	}
	return v
}

func TestSuggestIsDeterministicAndInBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := observations(t, rapid.IntRange(MinObservations, 30).Draw(t, "n"))
		if rapid.Bool().Draw(t, "duplicates") {
			data = append(data, data...)
		}
		if rapid.Bool().Draw(t, "constant") {
			for i := range data {
				data[i].Change = 1
			}
		}
		before, err := json.Marshal(data)
		require.NoError(t, err)
		pending := [][]float64{data[0].X, data[0].X, data[1].X}[:rapid.IntRange(0, 3).Draw(t, "pending")]
		seed := rapid.Uint64().Draw(t, "seed")
		first, err := Suggest(data, 11, pending, uniform(seed))
		require.NoError(t, err)
		require.NoError(t, checkPoint(first, len(data[0].X)))

		model, err := Fit(data, 11)
		require.NoError(t, err)
		_, err = model.Suggest(pending, uniform(seed+1))
		require.NoError(t, err)
		second, err := model.Suggest(pending, uniform(seed))
		require.NoError(t, err)
		require.Equal(t, first, second, "one fit serves several suggestions")
		after, err := json.Marshal(data)
		require.NoError(t, err)
		require.Equal(t, before, after, "the data are not written to")
	})
}

// The scale and offset of the changes are nothing to the model, up to rounding.
func TestSuggestOfHugeAndTinyChanges(t *testing.T) {
	want, err := Suggest(reference(), 5, nil, uniform(1))
	require.NoError(t, err)
	for _, scale := range []float64{1e-300, 1e-30, 1e30, 1e307} {
		data := reference()
		for i := range data {
			data[i].Change *= scale
		}
		got, err := Suggest(data, 5, nil, uniform(1))
		require.NoError(t, err)
		require.InDeltaSlice(t, want, got, 1e-2, "scale %v", scale)
	}
}

// The ends of what a float64 can hold are changes like others.
func TestStandardise(t *testing.T) {
	by := func(signs []float64, scale, offset float64) []float64 {
		points := make([]Observation, len(signs))
		for i, sign := range signs {
			points[i].Change = offset + scale*sign
		}
		return standardise(points)
	}
	signs := []float64{1, 1, 1, -1, 1}
	want := []float64{.5, .5, .5, -2, .5}
	for _, scale := range []float64{math.SmallestNonzeroFloat64, 1e-300, 1, math.MaxFloat64} {
		require.InDeltaSlice(t, want, by(signs, scale, 0), 1e-12, "scale %v", scale)
	}
	require.InDeltaSlice(t, want, by(signs, 1e-3, 1e9), 1e-3)
	for _, equal := range []float64{0, 0.1, -math.MaxFloat64} {
		require.Equal(t, make([]float64, 5), by(signs, 0, equal))
	}
	outlier := append(make([]float64, 99), 1)
	require.Equal(t, 2.0, by(outlier, 1, 0)[99], "cut")
}

// A stream of numbers stays in step whatever the data are.
func TestSuggestDrawsAFixedNumber(t *testing.T) {
	for _, data := range [][]Observation{reference(), reference()[:MinObservations]} {
		count := 0
		draw := uniform(1)
		_, err := Suggest(data, 9, nil, func() float64 { count++; return draw() })
		require.NoError(t, err)
		require.Equal(t, candidates*2, count)
	}
}

// Only the newest observations count, in whatever order they come.
func TestFitUsesTheNewest(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 0))
	data := make([]Observation, MaxObservations+50)
	for i := range data {
		x := []float64{r.Float64()}
		data[i] = Observation{Time: float64(i), X: x, Change: -x[0] * x[0]}
		if i < 50 {
			data[i].Change = 100 * x[0]
		}
	}
	want, err := Fit(data[50:], 400)
	require.NoError(t, err)
	r.Shuffle(len(data), func(i, j int) { data[i], data[j] = data[j], data[i] })
	got, err := Fit(data, 400)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// Points of one interval keep away from one another, even where the changes are
// noise and a pending point would say little.
func TestPendingPointsPushApart(t *testing.T) {
	for seed := range uint64(10) {
		r := rand.New(rand.NewPCG(seed, 7))
		var data []Observation
		for i := range 12 {
			x := []float64{r.Float64(), r.Float64()}
			data = append(data, Observation{Time: float64(i / 4), X: x, Change: 0.3 * r.NormFloat64()})
		}
		model, err := Fit(data, 3)
		require.NoError(t, err)
		nearest := func(pend bool) float64 {
			draw := uniform(seed)
			var chosen [][]float64
			near := math.Inf(1)
			for range 4 {
				pending := chosen
				if !pend {
					pending = nil
				}
				x, err := model.Suggest(pending, draw)
				require.NoError(t, err)
				for _, other := range chosen {
					near = min(near, math.Sqrt(squaredDistance(x, other)))
				}
				chosen = append(chosen, x)
			}
			return near
		}
		require.Less(t, nearest(false), 0.02, "seed %d: alone they are one point", seed)
		require.Greater(t, nearest(true), 0.05, "seed %d", seed)
	}
}

func TestErrors(t *testing.T) {
	_, err := Suggest(reference()[:MinObservations-1], 5, nil, uniform(1))
	require.ErrorIs(t, err, ErrFewData)
	_, err = Fit(nil, 5)
	require.ErrorIs(t, err, ErrFewData)

	nan, inf := math.NaN(), math.Inf(1)
	for _, c := range []struct {
		change func(o *Observation)
		want   string
	}{
		{func(o *Observation) { o.Time = nan }, "observation 3: time is NaN"},
		{func(o *Observation) { o.Time = -inf }, "observation 3: time is -Inf"},
		{func(o *Observation) { o.Time = 5.5 }, "observation 3: time 5.5 is after 5"},
		{func(o *Observation) { o.Change = nan }, "observation 3: change is NaN"},
		{func(o *Observation) { o.Change = inf }, "observation 3: change is +Inf"},
		{func(o *Observation) { o.X = []float64{.5} }, "observation 3: x has 1 dimensions: must be 2"},
		{func(o *Observation) { o.X = []float64{.5, 1.5} }, "observation 3: x[1] is 1.5"},
		{func(o *Observation) { o.X = []float64{nan, .5} }, "observation 3: x[0] is NaN"},
	} {
		data := reference()
		c.change(&data[3])
		_, err := Fit(data, 5)
		require.ErrorContains(t, err, c.want)
	}
	for _, time := range []float64{nan, inf} {
		_, err := Fit(reference(), time)
		require.ErrorContains(t, err, "time is")
	}
	empty := make([]Observation, MinObservations)
	_, err = Fit(empty, 5)
	require.ErrorContains(t, err, "x has 0 dimensions")

	model, err := Fit(reference(), 5)
	require.NoError(t, err)
	_, err = model.Suggest([][]float64{{.1, .1}, {.1, -.1}}, uniform(1))
	require.ErrorContains(t, err, "pending point 1: x[1] is -0.1")
	_, err = model.Suggest([][]float64{{.1}}, uniform(1))
	require.ErrorContains(t, err, "pending point 0: x has 1 dimensions: must be 2")
	_, err = model.Suggest(nil, nil)
	require.ErrorContains(t, err, "draw is nil")
	for _, u := range []float64{nan, 1, -.5} {
		_, err = model.Suggest(nil, func() float64 { return u })
		require.ErrorContains(t, err, "draw gave")
	}
}

func TestObservationIsKept(t *testing.T) {
	want := Observation{Time: 3, X: []float64{.25, 1}, Change: -1.5}
	text, err := json.Marshal(want)
	require.NoError(t, err)
	require.JSONEq(t, `{"time":3,"x":[0.25,1],"change":-1.5}`, string(text))
	var got Observation
	require.NoError(t, json.Unmarshal(text, &got))
	require.Equal(t, want, got)

	packed, err := msgpack.Marshal(want)
	require.NoError(t, err)
	var keys map[string]any
	require.NoError(t, msgpack.Unmarshal(packed, &keys))
	require.Equal(t, map[string]any{"time": 3.0, "x": []any{.25, 1.0}, "change": -1.5}, keys)
	got = Observation{}
	require.NoError(t, msgpack.Unmarshal(packed, &got))
	require.Equal(t, want, got)
}
