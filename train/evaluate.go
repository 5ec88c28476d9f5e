package train

import (
	"fmt"
	"math"

	"brood/kernels"
)

// Played is what a member scored in deterministic episodes.
type Played struct {
	Episodes   int     `json:"episodes"`
	MeanReturn float64 `json:"mean_return"`
	// StdReturn is the population standard deviation (NumPy's default).
	StdReturn  float64 `json:"std_return"`
	MinReturn  float64 `json:"min_return"`
	MaxReturn  float64 `json:"max_return"`
	MeanLength float64 `json:"mean_length"`
}

// evaluate plays the same episodes with each of the members.
func evaluate(engine kernels.Engine, members []int, episodes int, seed uint64, time uint32) ([]Played, error) {
	returns, lengths, err := Play(engine, members, episodes, seed, time)
	if err != nil {
		return nil, err
	}
	played := make([]Played, len(members))
	for i := range members {
		played[i] = statistics(returns[i], lengths[i])
	}
	return played, nil
}

// Play plays the same episodes with each of the members: those whose starting states
// seed and time address. It returns the true returns and the lengths,
// [members][episodes].
func Play(engine kernels.Engine, members []int, episodes int, seed uint64, time uint32) (returns [][]float64, lengths [][]int, err error) {
	returns, lengths = make([][]float64, len(members)), make([][]int, len(members))
	for i := range members {
		returns[i], lengths[i] = make([]float64, episodes), make([]int, episodes)
	}
	err = engine.Evaluate(kernels.Evaluation{Members: members, Episodes: episodes, Seed: seed, Time: time}, returns, lengths)
	if err != nil {
		return nil, nil, fmt.Errorf("play %d episodes: %w", episodes, err)
	}
	return returns, lengths, nil
}

func statistics(returns []float64, lengths []int) Played {
	p := Played{Episodes: len(returns), MinReturn: math.Inf(1), MaxReturn: math.Inf(-1)}
	n := float64(len(returns))
	for i, r := range returns {
		p.MeanReturn += r
		p.MeanLength += float64(lengths[i])
		p.MinReturn, p.MaxReturn = min(p.MinReturn, r), max(p.MaxReturn, r)
	}
	p.MeanReturn, p.MeanLength = p.MeanReturn/n, p.MeanLength/n
	for _, r := range returns {
		p.StdReturn += (r - p.MeanReturn) * (r - p.MeanReturn) / n
	}
	p.StdReturn = math.Sqrt(p.StdReturn)
	return p
}
