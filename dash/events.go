package dash

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"
)

const (
	// eventInterval is the least time between two messages to one page.
	eventInterval = 250 * time.Millisecond
	// heartbeat keeps connections open through what stands between.
	heartbeat = 15 * time.Second
	// writeTime is how long a page may take to read a message before it is let go; it
	// comes back by itself.
	writeTime = 30 * time.Second
	// maxBehind bounds a message: a page that is further behind than so many numbers
	// is told to ask for the history again.
	maxBehind = 200_000
)

// viewer is one page that listens. It has a place in what was read of its run and
// nothing else: one that is slow falls behind, and costs no memory.
type viewer struct {
	server *Server
	// run is the one that it is sent rows of.
	run *watched
	// generation and update are up to where it has them.
	generation int
	update     int64
	// sent are the last statuses it was told, as text, by run.
	sent []string
}

// serveEvents streams what happens. Messages are: status, of any run; rows, the
// figures of updates that are new; resync, where the page has to ask for the history
// again; end, where the server ends. The ids of rows are places to go on from.
func (s *Server) serveEvents(w http.ResponseWriter, r *http.Request) {
	v := &viewer{server: s, sent: make([]string, len(s.runs))}
	n, err := strconv.Atoi(r.URL.Query().Get("run"))
	if err != nil || n < 0 || n >= len(s.runs) {
		fail(w, bad("run=%q: the runs are 0 to %d", r.URL.Query().Get("run"), len(s.runs)-1))
		return
	}
	v.run = s.runs[n]
	from := r.Header.Get("Last-Event-ID")
	if from == "" {
		from = r.URL.Query().Get("from")
	}
	if from != "" {
		if _, err := fmt.Sscanf(from, "%d-%d", &v.generation, &v.update); err != nil {
			fail(w, bad("from=%q: want GENERATION-UPDATE, as in a message's id", from))
			return
		}
	}
	<-s.looked
	w.Header().Set("Content-Type", "text/event-stream")
	v.follow(w, r)
}

func (v *viewer) follow(w http.ResponseWriter, r *http.Request) {
	out := http.NewResponseController(w)
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	message := []byte("retry: 1000\n\n")
	for {
		changed := v.server.bell.rings()
		message = v.news(message)
		ending := false
		select {
		case <-v.server.closing:
			ending = true
			message = append(v.news(message), "event: end\ndata: {}\n\n"...)
		default:
		}
		if len(message) > 0 {
			_ = out.SetWriteDeadline(time.Now().Add(writeTime)) // the real connection has deadlines
			if _, err := w.Write(message); err != nil {
				return
			}
			if err := out.Flush(); err != nil {
				return
			}
		}
		if ending {
			return
		}
		message = message[:0]
		if !v.pause(r) {
			return
		}
		select {
		case <-changed:
		case <-v.server.closing:
		case <-beat.C:
			message = append(message, ": still here\n\n"...)
		case <-r.Context().Done():
			return
		}
	}
}

// pause waits between two messages; false: the page has gone.
func (v *viewer) pause(r *http.Request) bool {
	t := time.NewTimer(eventInterval)
	defer t.Stop()
	select {
	case <-t.C:
	case <-v.server.closing:
	case <-r.Context().Done():
		return false
	}
	return true
}

// news appends what the page does not know yet.
func (v *viewer) news(message []byte) []byte {
	for i, run := range v.server.runs {
		run.mu.RLock()
		text := run.status.comparable()
		if text != v.sent[i] {
			v.sent[i] = text
			message = append(message, "event: status\ndata: "...)
			message = append(message, text...)
			message = append(message, "\n\n"...)
		}
		if run == v.run {
			message = v.rows(message)
		}
		run.mu.RUnlock()
	}
	return message
}

// rows appends the figures of updates that are new, under the run's lock.
func (v *viewer) rows(message []byte) []byte {
	x := v.run.index
	members := drawn(x.population)
	updates := x.updates()
	numbers := (updates - v.update) * int64(len(members)*len(x.names))
	switch {
	case v.generation == x.generation && v.update == updates:
		return message
	case v.generation != x.generation || v.update > updates || numbers > maxBehind:
		v.generation, v.update = x.generation, updates
		return fmt.Appendf(message, "event: resync\nid: %d-%d\ndata: {\"generation\":%d,\"updates\":%d}\n\n", x.generation, updates, x.generation, updates)
	}
	from := v.update + 1
	v.update = updates
	names, err := json.Marshal(x.names)
	if err != nil {
		return message // names are plain text
	}
	message = fmt.Appendf(message, "event: rows\nid: %d-%d\ndata: {\"from\":%d,\"to\":%d,\"metrics\":%s,\"best\":", x.generation, updates, from, updates, names)
	message = appendArray(message, x.best[from-1:updates])
	message = append(message, `,"median":`...)
	message = appendArray(message, x.median[from-1:updates])
	message = append(message, `,"values":[`...)
	row := make([]float32, len(members))
	for i, name := range x.names {
		message = appendComma(message, i)
		message = append(message, '[')
		column := x.columns[name]
		for u := from; u <= updates; u++ {
			message = appendComma(message, int(u-from))
			for m, member := range members {
				row[m] = column[(u-1)*int64(x.population)+int64(member)]
			}
			message = appendArray(message, row)
		}
		message = append(message, ']')
	}
	return append(message, "]}\n\n"...)
}

func appendComma(b []byte, i int) []byte {
	if i > 0 {
		b = append(b, ',')
	}
	return b
}

func appendArray(b []byte, values []float32) []byte {
	b = append(b, '[')
	for i, v := range values {
		b = appendComma(b, i)
		if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
			b = append(b, "null"...)
		} else {
			b = strconv.AppendFloat(b, f, 'g', 6, 32)
		}
	}
	return append(b, ']')
}
