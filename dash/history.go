package dash

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"
)

// maxDrawn is how many members' curves are sent; of a larger population so many,
// evenly chosen. Best and median are always those of all.
const maxDrawn = 256

// drawn lists the members whose curves are sent.
func drawn(population int) []int {
	members := make([]int, min(population, maxDrawn))
	for i := range members {
		members[i] = i * population / len(members)
	}
	return members
}

// history is what a page asks for.
type history struct {
	// Metrics are names of columns.
	Metrics []string
	// From and To are updates; both are included.
	From, To int64
	// Buckets bounds what is sent: of each bucket two values per member and metric.
	Buckets int
}

// historyHead describes the numbers that follow it.
type historyHead struct {
	Generation int   `json:"generation"`
	From       int64 `json:"from"`
	To         int64 `json:"to"`
	// Updates of the run that were there.
	Updates int64 `json:"updates"`
	// Points of each curve.
	Points  int      `json:"points"`
	Metrics []string `json:"metrics"`
	Members []int    `json:"members"`
}

// encode answers a request: the size of the head (4 bytes), the head as JSON and
// spaces to a multiple of 4, then little-endian: the updates of the points (uint32),
// best and median (float32), and per metric and member the values (float32), NaN for
// none. Curves are thinned out by keeping of each bucket of updates each member's
// least and largest value, in their order, so that no peak is lost.
func (h *history) encode(x *index) ([]byte, error) {
	head := historyHead{Generation: x.generation, Updates: x.updates(), From: max(h.From, 1), To: min(h.To, x.updates()),
		Metrics: h.Metrics, Members: drawn(x.population)}
	for _, name := range h.Metrics {
		if _, ok := x.columns[name]; !ok && x.rows > 0 {
			return nil, fmt.Errorf("there is no metric %q; the run has %v", name, x.names)
		}
	}
	buckets := bucketsOf(head.From, head.To, h.Buckets)
	exact := len(buckets) > 0 && buckets[len(buckets)-1].to-buckets[0].from+1 == int64(len(buckets))
	points := pointsOf(buckets, exact)
	head.Points = len(points)
	text, err := json.Marshal(head)
	if err != nil {
		return nil, err
	}
	for len(text)%4 != 0 {
		text = append(text, ' ')
	}
	out := make([]byte, 0, 4+len(text)+4*len(points)*(3+len(h.Metrics)*len(head.Members)))
	out = binary.LittleEndian.AppendUint32(out, uint32(len(text)))
	out = append(out, text...)
	for _, u := range points {
		out = binary.LittleEndian.AppendUint32(out, uint32(u))
	}
	for _, one := range [][]float32{x.best, x.median} {
		out = appendCurves(out, one, 1, []int{0}, buckets, exact)
	}
	// Each metric has its own place, so that they are thinned out side by side.
	size := 4 * len(points) * len(head.Members)
	at := len(out)
	out = slices.Grow(out, size*len(h.Metrics))[:at+size*len(h.Metrics)]
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, name := range h.Metrics {
		group.Go(func() error {
			place := out[at+i*size : at+i*size : at+(i+1)*size]
			appendCurves(place, x.columns[name], x.population, head.Members, buckets, exact)
			return nil
		})
	}
	return out, group.Wait()
}

// bucket is a range of updates, both included.
type bucket struct{ from, to int64 }

// bucketsOf divides a range of updates evenly into at most so many buckets.
func bucketsOf(from, to int64, most int) []bucket {
	n := to - from + 1
	if n < 1 {
		return nil
	}
	if n <= 2*int64(most) { // as many values as two of each bucket
		most = int(n)
	}
	list := make([]bucket, most)
	for i := range list {
		list[i] = bucket{from + n*int64(i)/int64(most), from + n*int64(i+1)/int64(most) - 1}
	}
	return list
}

// pointsOf lists the updates that the values are drawn at: those themselves, or of
// each bucket its first and its middle.
func pointsOf(buckets []bucket, exact bool) []int64 {
	var points []int64
	for _, b := range buckets {
		points = append(points, b.from)
		if !exact {
			points = append(points, max(b.from+(b.to-b.from+1)/2, b.from+1))
		}
	}
	return points
}

// extremes of a bucket and which came first.
type extremes struct {
	low, high     float32
	lowAt, highAt int64
}

// appendCurves appends the values of each member's curve.
func appendCurves(out []byte, column []float32, population int, members []int, buckets []bucket, exact bool) []byte {
	if len(buckets) == 0 {
		return out
	}
	per := 2
	if exact {
		per = 1
	}
	curve := 4 * per * len(buckets)
	at := len(out)
	out = slices.Grow(out, curve*len(members))[:at+curve*len(members)]
	put := func(member, point int, v float32) {
		binary.LittleEndian.PutUint32(out[at+member*curve+4*point:], math.Float32bits(v))
	}
	none := float32(math.NaN())
	found := make([]extremes, len(members))
	for i, b := range buckets {
		for m := range found {
			found[m] = extremes{low: none, high: none}
		}
		// In the order of memory, which matters more than what is done with it.
		for u := b.from; u <= b.to; u++ {
			row := column[(u-1)*int64(population) : u*int64(population)]
			for m, member := range members {
				v, e := row[member], &found[m]
				if !(v >= e.low) && v == v {
					e.low, e.lowAt = v, u
				}
				if !(v <= e.high) && v == v {
					e.high, e.highAt = v, u
				}
			}
		}
		for m, e := range found {
			if exact {
				put(m, i, e.low)
				continue
			}
			if e.lowAt > e.highAt {
				e.low, e.high = e.high, e.low
			}
			put(m, 2*i, e.low)
			put(m, 2*i+1, e.high)
		}
	}
	return out
}
