package train

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"slices"

	"brood/ckpt"
	"brood/internal/stats"
	"brood/pbt"
	"brood/tensor"
)

// Interrupted is Summary.Stopped of a run that was stopped before its end.
const Interrupted = "interrupted"

// Summary is what a run came to; summary.json holds it.
type Summary struct {
	// Run is the run folder.
	Run string `json:"run"`
	Env string `json:"env"`
	// Device is the engine that trained: "cpu/avx512".
	Device     string `json:"device"`
	Population int    `json:"population"`
	EnvSteps   int64  `json:"env_steps"`
	Updates    int64  `json:"updates"`
	// Seconds of training, checkpoints included, the choice of the best at the
	// end and the start of the process not; over all processes of the run.
	Seconds           float64 `json:"seconds"`
	EnvStepsPerSecond float64 `json:"env_steps_per_second"`
	Exploits          int64   `json:"exploits"`
	// Best is nil where no member has a score.
	Best *Best `json:"best"`
	// Stopped is nil for a run that did all its updates, else why it stopped.
	Stopped *string `json:"stopped"`
	// Strategies and Changes count the outcomes of exploits; see Outcome.
	Strategies []ExploitSummary `json:"strategies"`
	Changes    []ExploitSummary `json:"changes"`
	// Checkpoints is what checkpoints cost this process.
	Checkpoints CheckpointSummary `json:"checkpoints"`
	// Members by index.
	Members []MemberSummary `json:"members"`

	mode pbt.MetricMode
}

// CheckpointSummary is what the checkpoints of a process cost.
type CheckpointSummary struct {
	Written int64 `json:"written"`
	// Failed are those that could not be written.
	Failed int64 `json:"failed"`
	// Bytes of the members' files, and the seconds from the snapshots to the last
	// byte on disk.
	Bytes        int64   `json:"bytes"`
	WriteSeconds float64 `json:"write_seconds"`
	// WaitSeconds is how long training stood still; at the end there is none that
	// would.
	WaitSeconds float64 `json:"wait_seconds"`
}

// Best is the best member and how it was found to be.
type Best struct {
	Member int `json:"member"`
	// MeanReturn over the selection's episodes, or the last score where there
	// were none (see MemberSummary).
	MeanReturn float64 `json:"mean_return"`
	Checkpoint string  `json:"checkpoint"`
}

// MemberSummary is how one member ended.
type MemberSummary struct {
	Member int `json:"member"`
	// Score by the run's metric (pbt.metric_name); nil without a finished episode.
	Score *float64 `json:"score"`
	// Selection is what it scored in run.selection_episodes deterministic
	// episodes; nil where these were not played.
	Selection *Played `json:"selection"`
	// Hyperparameters that were evolved, as they were at the end.
	Hyperparameters map[string]float64 `json:"hyperparameters"`
}

// judged is the figure the best member is chosen by; NaN: none.
func (m *MemberSummary) judged() float64 {
	switch {
	case m.Selection != nil:
		return m.Selection.MeanReturn
	case m.Score != nil:
		return *m.Score
	}
	return math.NaN()
}

// selectionTime addresses the starting states of the selection; no interval and
// no `brood eval` plays them.
const selectionTime = math.MaxUint32

// summarise ranks the members. A finished run plays episodes of its own to
// choose the best: the last score of training is of few episodes, and of a
// policy that still explores.
func (r *Run) summarise(ctx context.Context, stopped bool) (*Summary, error) {
	if _, err := r.measure(); err != nil {
		return nil, fmt.Errorf("train: the last score: %w", err)
	}
	s := &Summary{Run: r.opts.Dir, Env: r.cfg.Env.ID, Device: r.engine.Name(), Population: len(r.scores),
		EnvSteps: r.envSteps(), Updates: r.updates, Seconds: r.secondsSoFar(), Exploits: r.exploits, Checkpoints: r.checkpoints, mode: r.cfg.PBT.MetricMode}
	s.Strategies, s.Changes = r.outcomes.summaries()
	if s.Seconds > 0 {
		s.EnvStepsPerSecond = float64(s.EnvSteps) / s.Seconds
	}
	for m, score := range r.scores {
		evolved := map[string]float64{}
		for _, e := range r.evolved {
			evolved[e.name] = float64(r.hyper[m][e.Hyperparameter])
		}
		s.Members = append(s.Members, MemberSummary{Member: m, Score: stats.OrNil(score), Hyperparameters: evolved})
	}
	if stopped {
		reason := Interrupted
		s.Stopped = &reason
	} else if n := r.cfg.Run.SelectionEpisodes; n > 0 {
		played, err := evaluate(r.engine, r.members(), n, r.cfg.Run.Seed, selectionTime)
		if err != nil {
			return nil, fmt.Errorf("train: choose the best member: %w", err)
		}
		for m := range played {
			s.Members[m].Selection = &played[m]
		}
	}
	return s, r.chooseBest(ctx, s)
}

// chooseBest names the best member and, of a finished run, keeps its checkpoint
// as best.ckpt.
func (r *Run) chooseBest(ctx context.Context, s *Summary) error {
	m := s.Ranking()[0]
	if math.IsNaN(s.Members[m].judged()) {
		return nil
	}
	s.Best = &Best{Member: m, MeanReturn: s.Members[m].judged(), Checkpoint: r.memberCheckpoint(m)}
	if s.Stopped != nil || r.opts.InMemory {
		return nil
	}
	state := tensor.NewMember(r.engine.Layout())
	if err := r.engine.Snapshot(m, state); err != nil {
		return fmt.Errorf("train: read the best member: %w", err)
	}
	data, err := ckpt.Encode(state, r.meta(s.Best.MeanReturn), true)
	if err != nil {
		return err
	}
	s.Best.Checkpoint = r.path(bestFile)
	write := func() error { return ckpt.WriteFile(r.opts.FS, s.Best.Checkpoint, data) }
	if err := r.insist(ctx, bestFile, write); err != nil {
		return r.whole(fmt.Errorf("train: write the best member: %w", err))
	}
	return nil
}

// Ranking lists the members from the best to the worst: by the selection's mean
// return, or the score where there was no selection, then by the score, then by
// index. Members without a figure come last.
func (s *Summary) Ranking() []int {
	key := func(x float64) float64 {
		switch {
		case math.IsNaN(x):
			return math.Inf(-1)
		case s.mode == pbt.Min:
			return -x
		}
		return x
	}
	score := func(m int) float64 {
		if s.Members[m].Score == nil {
			return math.NaN()
		}
		return *s.Members[m].Score
	}
	ranking := make([]int, len(s.Members))
	for m := range ranking {
		ranking[m] = m
	}
	slices.SortStableFunc(ranking, func(a, b int) int {
		return cmp.Or(cmp.Compare(key(s.Members[b].judged()), key(s.Members[a].judged())), cmp.Compare(key(score(b)), key(score(a))))
	})
	return ranking
}

func (r *Run) writeSummary(s *Summary) error {
	if r.opts.InMemory {
		return nil
	}
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("train: write the summary: %w", err)
	}
	if err := ckpt.WriteFile(r.opts.FS, r.path(summaryFile), append(data, '\n')); err != nil {
		return fmt.Errorf("train: write the summary: %w", err)
	}
	return nil
}

// meta is what a checkpoint of the present update says beside the state.
func (r *Run) meta(performance float64) ckpt.Meta {
	return ckpt.Meta{Step: r.updates, Performance: performance, Env: ckpt.EnvOf(r.engine.Config().Env.Spec()), Config: string(r.yaml)}
}

// memberCheckpoint is the file of a member in the checkpoint of the present update.
// Where the number of members was changed and none trained since, that is the
// checkpoint the change was made to, and the member may have another file there.
func (r *Run) memberCheckpoint(m int) string {
	if r.origins != nil && r.updates == r.resizedAt {
		m = r.origins[m]
	}
	return filepath.Join(r.path(checkpointsDir), ckpt.SetName(r.updates), ckpt.MemberFile(m))
}
