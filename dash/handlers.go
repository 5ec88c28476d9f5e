package dash

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/http"
	"strconv"
	"strings"

	"brood/train"
)

// static is what `make dash` builds of web.
//
//go:embed static
var static embed.FS

func (s *Server) handler() http.Handler {
	files, err := fs.Sub(static, "static")
	if err != nil {
		panic(err) // the folder is part of the program
	}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(files))
	mux.HandleFunc("GET /api/runs", s.serveRuns)
	mux.HandleFunc("GET /api/events", s.serveEvents)
	mux.HandleFunc("GET /api/runs/{run}/history", s.ofRun(serveHistory))
	mux.HandleFunc("GET /api/runs/{run}/family", s.ofRun(serveFamily))
	mux.HandleFunc("GET /api/runs/{run}/episode", s.ofRun(serveEpisode))
	mux.HandleFunc("POST /api/runs/{run}/{command}", s.ofRun(serveCommand))
	return s.guard.wrap(mux)
}

// ofRun finds the run that a path names: by its number, so that nothing of a request
// ever becomes a path on the disk.
func (s *Server) ofRun(serve func(*watched, http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(r.PathValue("run"))
		if err != nil || n < 0 || n >= len(s.runs) {
			fail(w, &httpError{http.StatusNotFound, fmt.Sprintf("run %q: the runs are 0 to %d", r.PathValue("run"), len(s.runs)-1)})
			return
		}
		<-s.looked
		if err := serve(s.runs[n], w, r); err != nil {
			fail(w, err)
		}
	}
}

// httpError is an error with its status code.
type httpError struct {
	code int
	text string
}

// Error is the text.
func (e *httpError) Error() string { return e.text }

func bad(format string, args ...any) error {
	return &httpError{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

func fail(w http.ResponseWriter, err error) {
	code := http.StatusInternalServerError
	var h *httpError
	if errors.As(err, &h) {
		code = h.code
	}
	http.Error(w, err.Error(), code)
}

func sendJSON(w http.ResponseWriter, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(text) // whoever has gone needs no answer
	return nil
}

// about is what does not change while a page is open, and the status.
type about struct {
	status
	Metrics         []string          `json:"metrics"`
	Hyperparameters []aboutHyper      `json:"hyperparameters"`
	Members         []int             `json:"members"`
	Minimise        bool              `json:"minimise"`
	Threshold       float64           `json:"threshold"`
	Interval        int64             `json:"interval"`
	Settings        map[string]string `json:"settings"`
}

// aboutHyper is a hyperparameter that differs between members or updates.
type aboutHyper struct {
	Name string   `json:"name"`
	Log  bool     `json:"log"`
	Min  *float64 `json:"min"`
	Max  *float64 `json:"max"`
}

func (s *Server) serveRuns(w http.ResponseWriter, _ *http.Request) {
	<-s.looked
	list := make([]about, len(s.runs))
	for i, run := range s.runs {
		list[i] = run.about()
	}
	if err := sendJSON(w, list); err != nil {
		fail(w, err)
	}
}

func (w *watched) about() about {
	w.mu.RLock()
	defer w.mu.RUnlock()
	a := about{status: w.status, Metrics: w.index.names, Members: drawn(w.index.population), Minimise: w.index.minimise,
		Interval: int64(w.config.PBT.PerturbationInterval), Hyperparameters: []aboutHyper{}}
	for _, h := range w.config.PBT.Hyperparameters {
		a.Hyperparameters = append(a.Hyperparameters, aboutHyper{h.Name, h.LogScale, h.Min, h.Max})
	}
	if w.tree != nil {
		for _, name := range w.tree.Names[len(a.Hyperparameters):] {
			a.Hyperparameters = append(a.Hyperparameters, aboutHyper{Name: name})
		}
	}
	if engine, err := w.config.EngineConfig(); err == nil { // it was valid when it was read
		a.Threshold = engine.Env.Spec().RewardThreshold
	}
	p := w.config.PBT
	a.Settings = map[string]string{"exploit": string(p.ExploitMethod), "explore": string(p.ExploreMethod), "optimizer": string(p.OptimizerExploitStrategy),
		"seed": fmt.Sprint(w.config.Run.Seed), "networks": fmt.Sprint(w.config.Policy.Hidden), "critic": string(w.config.Critic.Type)}
	if !p.Enabled {
		a.Settings["exploit"], a.Settings["explore"], a.Settings["optimizer"] = "off", "off", "-"
	}
	return a
}

// maxBuckets bounds what one request can ask for.
const maxBuckets = 4000

func serveHistory(run *watched, w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	h := history{Metrics: []string{}, From: 1, To: math.MaxInt64, Buckets: 500}
	for _, n := range []struct {
		name string
		to   *int64
	}{{"from", &h.From}, {"to", &h.To}} {
		if text := q.Get(n.name); text != "" {
			v, err := strconv.ParseInt(text, 10, 64)
			if err != nil || v < 1 {
				return bad("%s=%q: want an update, from 1", n.name, text)
			}
			*n.to = v
		}
	}
	if text := q.Get("buckets"); text != "" {
		v, err := strconv.Atoi(text)
		if err != nil || v < 1 || v > maxBuckets {
			return bad("buckets=%q: want 1 to %d", text, maxBuckets)
		}
		h.Buckets = v
	}
	if text := q.Get("metrics"); text != "" {
		h.Metrics = strings.Split(text, ",")
	}
	if len(h.Metrics) > 64 {
		return bad("metrics: %d names; want at most 64", len(h.Metrics))
	}
	run.mu.RLock()
	data, err := h.encode(run.index)
	run.mu.RUnlock()
	if err != nil {
		return bad("%v", err)
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	_, _ = w.Write(data) // whoever has gone needs no answer
	return nil
}

// memberOf reads a member's number, and refuses one that the population lacks.
func memberOf(run *watched, text string) (int, error) {
	m, err := strconv.Atoi(text)
	if err != nil || m < 0 || m >= run.index.population {
		return 0, &httpError{http.StatusNotFound, fmt.Sprintf("member %q: the members are 0 to %d", text, run.index.population-1)}
	}
	return m, nil
}

func serveEpisode(run *watched, w http.ResponseWriter, r *http.Request) error {
	m, err := memberOf(run, r.URL.Query().Get("member"))
	if err != nil {
		return err
	}
	episode, err := strconv.ParseUint(r.URL.Query().Get("episode"), 10, 32)
	if err != nil {
		return bad("episode=%q: want a whole number from 0", r.URL.Query().Get("episode"))
	}
	stored, update, err := train.NewestMember(run.dir, m)
	if errors.Is(err, train.ErrNoCheckpoint) {
		return &httpError{http.StatusNotFound, "there is no checkpoint yet"}
	}
	if err != nil {
		return err
	}
	recording, err := stored.Record(0, uint32(episode))
	if err != nil {
		return err
	}
	return sendJSON(w, struct {
		Member  int         `json:"member"`
		Update  int64       `json:"update"`
		Episode uint64      `json:"episode"`
		Env     string      `json:"env"`
		States  [][]float32 `json:"states"`
		Actions [][]float32 `json:"actions"`
		Rewards []float32   `json:"rewards"`
		Return  float64     `json:"return"`
	}{m, update, episode, recording.Env, recording.States, recording.Actions, recording.Rewards, recording.Return})
}

func serveCommand(run *watched, w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("command")
	switch name {
	case "checkpoint", "pause", "continue", "stop":
	default:
		return &httpError{http.StatusNotFound, fmt.Sprintf("command %q: want checkpoint, pause, continue or stop", name)}
	}
	if run.live == nil {
		return &httpError{http.StatusConflict, "this run is not of this process: only `brood train --dashboard` and `brood resume --dashboard` have buttons"}
	}
	if !run.live.command(name) {
		return &httpError{http.StatusConflict, "the run has ended"}
	}
	run.look()
	w.WriteHeader(http.StatusNoContent)
	return nil
}
