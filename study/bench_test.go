package study

import (
	"errors"
	"testing"

	"brood/train"

	"github.com/stretchr/testify/require"
)

// BenchmarkCounterfactual lives the first exploit of the common workload under all
// six strategies for 20 updates, 64 episodes at each of six moments, without the
// training up to the exploit.
func BenchmarkCounterfactual(b *testing.B) {
	settings, err := train.ParseSettings([]string{"env.count=64", "ppo.steps=128", "ppo.epochs=4", "ppo.minibatches=4", "run.device=cpu"})
	require.NoError(b, err)
	cfg, err := train.Load("common", nil, settings)
	require.NoError(b, err)
	var c *Case
	run, err := train.New(cfg, train.Options{InMemory: true, BeforeExploit: func(m *train.Moment) error {
		c, err = Capture(m, cfg, 0)
		return errors.Join(err, train.ErrStop)
	}})
	require.NoError(b, err)
	defer run.Close()
	_, err = run.Train(b.Context())
	require.ErrorIs(b, err, train.ErrStop)
	arms, err := ParseArms(DefaultArms())
	require.NoError(b, err)
	for b.Loop() {
		lives, err := c.Live(b.Context(), Options{Arms: arms, Updates: 20, Episodes: 64})
		require.NoError(b, err)
		require.Len(b, lives.Summary(nil).Arms, len(arms))
	}
	b.ReportMetric(float64(b.Elapsed().Seconds())/float64(b.N), "s/exploit")
}
