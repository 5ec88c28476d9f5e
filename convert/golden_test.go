package convert

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"brood/ckpt"
	"brood/env"
	"brood/kernels"
	"brood/kernels/cpu"
	"brood/kernels/plain"
	"brood/rng"
	"brood/tensor"
	"brood/train"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// golden is what the program that made a fixture computes of it; see testdata/make.py.
type golden struct {
	Env           string             `json:"env"`
	NumTimesteps  int64              `json:"num_timesteps"`
	NSteps        int                `json:"n_steps"`
	NEnvs         int64              `json:"n_envs"`
	BatchSize     int                `json:"batch_size"`
	NEpochs       int                `json:"n_epochs"`
	AdamSteps     int64              `json:"adam_steps"`
	Parameters    map[string]summary `json:"parameters"`
	ExpAvg        map[string]summary `json:"exp_avg"`
	ExpAvgSq      map[string]summary `json:"exp_avg_sq"`
	Observations  [][]float32        `json:"observations"`
	Actions       json.RawMessage    `json:"actions"`
	Outputs       [][]float64        `json:"outputs"`
	Values        []float64          `json:"values"`
	MeanReturn    float64            `json:"mean_return"`
	StdReturn     float64            `json:"std_return"`
	Step          step               `json:"step"`
	continuousOut [][]float64
	discreteOut   []float64
}

// step is one minibatch of one-step episodes and the weights after it.
type step struct {
	LearningRate float64              `json:"learning_rate"`
	Actions      [][]float32          `json:"actions"`
	LogProbs     []float32            `json:"log_probs"`
	Rewards      []float32            `json:"rewards"`
	Parameters   map[string][]float64 `json:"parameters"`
}

type summary struct {
	Shape            []int
	SHA256           string
	Sum, First, Last float64
}

// fixture is a file with its golden, and how its tensors are to be called.
type fixture struct {
	file, golden string
	names        map[string]string
}

var (
	sb3Names = map[string]string{
		"mlp_extractor.policy_net.0.weight": "actor.0.weight", "mlp_extractor.policy_net.0.bias": "actor.0.bias",
		"mlp_extractor.policy_net.2.weight": "actor.2.weight", "mlp_extractor.policy_net.2.bias": "actor.2.bias",
		"mlp_extractor.value_net.0.weight": "critic.0.weight", "mlp_extractor.value_net.0.bias": "critic.0.bias",
		"mlp_extractor.value_net.2.weight": "critic.2.weight", "mlp_extractor.value_net.2.bias": "critic.2.bias",
		"action_net.weight": "actor.4.weight", "action_net.bias": "actor.4.bias",
		"value_net.weight": "critic.4.weight", "value_net.bias": "critic.4.bias",
	}
	// One hidden layer, and log_std before all others.
	sb3Continuous = map[string]string{
		"log_std":                           "log_std",
		"mlp_extractor.policy_net.0.weight": "actor.0.weight", "mlp_extractor.policy_net.0.bias": "actor.0.bias",
		"mlp_extractor.value_net.0.weight": "critic.0.weight", "mlp_extractor.value_net.0.bias": "critic.0.bias",
		"action_net.weight": "actor.2.weight", "action_net.bias": "actor.2.bias",
		"value_net.weight": "critic.2.weight", "value_net.bias": "critic.2.bias",
	}
	cleanrlDiscrete = map[string]string{
		"critic.0.weight": "critic.0.weight", "critic.0.bias": "critic.0.bias", "critic.2.weight": "critic.2.weight",
		"critic.2.bias": "critic.2.bias", "critic.4.weight": "critic.4.weight", "critic.4.bias": "critic.4.bias",
		"actor.0.weight": "actor.0.weight", "actor.0.bias": "actor.0.bias", "actor.2.weight": "actor.2.weight",
		"actor.2.bias": "actor.2.bias", "actor.4.weight": "actor.4.weight", "actor.4.bias": "actor.4.bias",
	}
	cleanrlContinuous = map[string]string{
		"critic.0.weight": "critic.0.weight", "critic.0.bias": "critic.0.bias", "critic.2.weight": "critic.2.weight",
		"critic.2.bias": "critic.2.bias", "critic.4.weight": "critic.4.weight", "critic.4.bias": "critic.4.bias",
		"actor_mean.0.weight": "actor.0.weight", "actor_mean.0.bias": "actor.0.bias", "actor_mean.2.weight": "actor.2.weight",
		"actor_mean.2.bias": "actor.2.bias", "actor_mean.4.weight": "actor.4.weight", "actor_mean.4.bias": "actor.4.bias",
		"actor_logstd": "log_std",
	}
	fixtures = []fixture{
		{"sb3-cartpole.zip", "sb3-cartpole", sb3Names},
		{"sb3-pendulum.zip", "sb3-pendulum", sb3Continuous},
		{"cleanrl-cartpole.safetensors", "cleanrl-cartpole", cleanrlDiscrete},
		{"cleanrl-cartpole.cleanrl_model", "cleanrl-cartpole", cleanrlDiscrete},
		{"cleanrl-pendulum.safetensors", "cleanrl-pendulum", cleanrlContinuous},
		{"cleanrl-pendulum.cleanrl_model", "cleanrl-pendulum", cleanrlContinuous},
	}
)

func testdata(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	return data
}

func goldenOf(t testing.TB, name string) *golden {
	t.Helper()
	g := &golden{}
	require.NoError(t, json.Unmarshal(testdata(t, name+".json"), g))
	if err := json.Unmarshal(g.Actions, &g.continuousOut); err != nil {
		g.continuousOut = nil
		require.NoError(t, json.Unmarshal(g.Actions, &g.discreteOut))
	}
	return g
}

// converted is a member file with all that reading it needs.
type converted struct {
	*ckpt.Checkpoint
	report *Report
	config *kernels.Config
	member tensor.Member
}

func convertFixture(t testing.TB, name string, data []byte, o Options) converted {
	t.Helper()
	file, report, err := Bytes(name, data, o)
	require.NoError(t, err)
	c, err := ckpt.Decode(file)
	require.NoError(t, err)
	cfg, err := train.Load(name, []byte(c.Config), nil)
	require.NoError(t, err, "the checkpoint's configuration is valid and complete")
	config, err := cfg.EngineConfig()
	require.NoError(t, err)
	layout, err := kernels.NewLayout(config)
	require.NoError(t, err)
	m := tensor.NewMember(layout)
	_, err = c.Restore(m)
	require.NoError(t, err)
	return converted{c, report, config, m}
}

// bits compares a tensor with the golden's, bit for bit.
func bits(t *testing.T, c converted, section, name string, want summary) {
	t.Helper()
	require.NotNil(t, c.member.Layout().Section(section).Tensor(name), "%s/%s", section, name)
	sum := sha256.Sum256(c.member.Raw(section, name))
	assert.Equal(t, want.SHA256, hex.EncodeToString(sum[:]), "%s/%s", section, name)
	values := c.member.Float32(section, name)
	total := 0.0
	for _, v := range values {
		total += float64(v)
	}
	assert.InDelta(t, want.Sum, total, 1e-9*(1+math.Abs(want.Sum)), "%s/%s", section, name)
	assert.Equal(t, float32(want.First), values[0], "%s/%s", section, name)
	assert.Equal(t, float32(want.Last), values[len(values)-1], "%s/%s", section, name)
}

func TestTensorsBitForBit(t *testing.T) {
	for _, f := range fixtures {
		t.Run(f.file, func(t *testing.T) {
			g := goldenOf(t, f.golden)
			c := convertFixture(t, f.file, testdata(t, f.file), Options{Env: g.Env})
			require.Len(t, f.names, len(g.Parameters))
			require.Len(t, c.member.Layout().Section(kernels.SectionPolicy).Tensors, len(g.Parameters), "no tensor is left as it was initialised")
			for theirs, ours := range f.names {
				require.Contains(t, g.Parameters, theirs)
				bits(t, c, kernels.SectionPolicy, ours, g.Parameters[theirs])
			}
			assert.Equal(t, len(g.ExpAvg) > 0, c.HasOptimizerState)
			for theirs, want := range g.ExpAvg {
				bits(t, c, kernels.SectionOptimizer, "exp_avg/"+f.names[theirs], want)
				bits(t, c, kernels.SectionOptimizer, "exp_avg_sq/"+f.names[theirs], g.ExpAvgSq[theirs])
			}
			assert.Equal(t, g.AdamSteps, c.member.Int64(kernels.SectionOptimizer, "step")[0])
			assert.Equal(t, g.AdamSteps, c.report.OptimizerSteps)
			assert.Equal(t, g.NumTimesteps, c.member.Int64(kernels.SectionCounters, "env_steps")[0])
		})
	}
}

// probe is an environment that shows the policy one observation after the other and
// remembers what it does.
type probe struct {
	spec         env.Spec
	observations [][]float32
	mu           sync.Mutex
	actions      [][]float32
}

func (p *probe) Spec() env.Spec { return p.spec }

func (p *probe) Reset(state []float32, _ *rng.Stream) { state[0] = 0 }

func (p *probe) Observe(state, obs []float32) {
	copy(obs, p.observations[min(int(state[0]), len(p.observations)-1)])
}

func (p *probe) Step(state, action []float32) (float32, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.actions[int(state[0])] = append([]float32(nil), action...)
	state[0]++
	return 0, int(state[0]) >= len(p.observations)
}

// engineOf makes an engine on which the converted policy plays a probe.
func engineOf(t *testing.T, c converted, g *golden, p *probe, make func(*kernels.Config) (kernels.Engine, error)) kernels.Engine {
	t.Helper()
	real := c.config.Env.Spec()
	p.spec = env.Spec{ID: real.ID, ObsDim: real.ObsDim, Action: real.Action, StateSize: 1}
	p.observations, p.actions = g.Observations, nil
	for range g.Observations {
		p.actions = append(p.actions, nil)
	}
	config := *c.config
	config.Env, config.Environments, config.Steps, config.Epochs, config.Minibatches = env.Vectorize(p), 1, len(g.Observations), 1, 1
	e, err := make(&config)
	require.NoError(t, err)
	t.Cleanup(func() { e.Close() })
	m := tensor.NewMember(e.Layout())
	require.NoError(t, e.Snapshot(0, m))
	for _, name := range []string{kernels.SectionPolicy, kernels.SectionOptimizer} {
		from, to := c.member.Layout().Section(name), e.Layout().Section(name)
		copy(m.Bytes()[to.Offset:to.Offset+to.Size], c.member.Bytes()[from.Offset:])
	}
	require.NoError(t, e.Restore(0, m))
	return e
}

func TestActionsAndValuesAreTheirs(t *testing.T) {
	engines := map[string]func(*kernels.Config) (kernels.Engine, error){"cpu": cpu.New, "plain": plain.New}
	for _, f := range fixtures {
		for name, make := range engines {
			t.Run(f.file+"/"+name, func(t *testing.T) {
				g := goldenOf(t, f.golden)
				c := convertFixture(t, f.file, testdata(t, f.file), Options{Env: g.Env})
				p := &probe{}
				e := engineOf(t, c, g, p, make)
				_, _, err := train.Play(e, []int{0}, 1, 0, 0)
				require.NoError(t, err)
				require.True(t, (g.discreteOut == nil) != (g.continuousOut == nil))
				for i, want := range g.continuousOut {
					for a := range want {
						assert.InDelta(t, want[a], p.actions[i][a], 1e-5, "action %d at observation %d", a, i)
					}
				}
				for i, want := range g.discreteOut {
					assert.EqualValues(t, want, p.actions[i][0], "action at observation %d", i)
				}
				values(t, e, g)
			})
		}
	}
}

// values compares the critic's values of the observations with the golden's.
func values(t *testing.T, e kernels.Engine, g *golden) {
	t.Helper()
	r := rolloutOf(e.Config(), g)
	require.NoError(t, e.WriteRollout(0, &r))
	var got kernels.Rollout
	require.NoError(t, e.ReadRollout(0, &got))
	require.Len(t, got.Values, len(g.Values))
	for i, want := range g.Values {
		assert.InDelta(t, want, got.Values[i], 1e-5*max(1, math.Abs(want)), "value of observation %d", i)
	}
}

// rolloutOf is a rollout of the golden's observations, each the whole of an episode.
func rolloutOf(c *kernels.Config, g *golden) kernels.Rollout {
	n, d, w := c.Rows(), c.Env.Spec().ObsDim, c.Env.Spec().Action.Width()
	r := kernels.Rollout{Actions: make([]float32, n*w), LogProbs: make([]float32, n), Rewards: make([]float32, n),
		Terminated: bytes.Repeat([]byte{1}, n), Truncated: make([]byte, n), FinalObs: make([]float32, n*d), LastObs: make([]float32, d)}
	for _, o := range g.Observations {
		r.Obs = append(r.Obs, o...)
	}
	return r
}

// The next minibatch changes the weights as Stable-Baselines3 would have: moments,
// their number of steps and every coefficient of the loss mean here what they mean
// there.
func TestTheNextStepIsTheirs(t *testing.T) {
	engines := map[string]func(*kernels.Config) (kernels.Engine, error){"cpu": cpu.New, "plain": plain.New}
	for _, f := range fixtures[:2] {
		for name, make := range engines {
			t.Run(f.file+"/"+name, func(t *testing.T) {
				g := goldenOf(t, f.golden)
				rate := train.Setting{Origin: "test", Key: "ppo.learning_rate", Value: strconv.FormatFloat(g.Step.LearningRate, 'f', -1, 64)}
				c := convertFixture(t, f.file, testdata(t, f.file), Options{Env: g.Env, Settings: []train.Setting{rate}})
				e := engineOf(t, c, g, &probe{}, make)
				r := rolloutOf(e.Config(), g)
				r.LogProbs, r.Rewards, r.Actions = g.Step.LogProbs, g.Step.Rewards, nil
				for _, a := range g.Step.Actions {
					r.Actions = append(r.Actions, a...)
				}
				require.NoError(t, e.WriteRollout(0, &r))
				require.NoError(t, e.Advantages())
				require.NoError(t, e.Update())
				after := tensor.NewMember(e.Layout())
				require.NoError(t, e.Snapshot(0, after))
				for theirs, ours := range f.names {
					got, before := after.Float32(kernels.SectionPolicy, ours), c.member.Float32(kernels.SectionPolicy, ours)
					require.Len(t, got, len(g.Step.Parameters[theirs]))
					for i, want := range g.Step.Parameters[theirs] {
						// A step is of the size of the learning rate.
						assert.InDelta(t, want, got[i], 2e-3*g.Step.LearningRate, "%s at %d, which was %v", ours, i, before[i])
					}
				}
			})
		}
	}
}

func TestPlaysAsItDid(t *testing.T) {
	for _, f := range fixtures[:2] {
		t.Run(f.file, func(t *testing.T) {
			g := goldenOf(t, f.golden)
			out := filepath.Join(t.TempDir(), "out.ckpt")
			_, err := File(filepath.Join("testdata", f.file), out, Options{Env: g.Env})
			require.NoError(t, err)
			stored, err := train.Find(out)
			require.NoError(t, err)
			played, warnings, err := stored.Evaluate(train.DeviceCPU, 200, 0)
			require.NoError(t, err)
			assert.Empty(t, warnings)
			// 200 episodes there and here: 4.5 standard errors of the difference.
			assert.InDelta(t, g.MeanReturn, played.MeanReturn, 4.5*g.StdReturn*math.Sqrt(2.0/200), "mean return of other starting states")
		})
	}
}

// A member that was converted trains on: with Adam's next step, from the counters it
// came with.
func TestTrainsOn(t *testing.T) {
	for _, f := range fixtures {
		t.Run(f.file, func(t *testing.T) {
			g := goldenOf(t, f.golden)
			c := convertFixture(t, f.file, testdata(t, f.file), Options{Env: g.Env})
			e, err := cpu.New(c.config)
			require.NoError(t, err)
			defer e.Close()
			require.NoError(t, e.Restore(0, c.member))
			stats := make([]kernels.Stats, 1)
			require.NoError(t, e.Iterate(stats))
			after := tensor.NewMember(e.Layout())
			require.NoError(t, e.Snapshot(0, after))
			minibatches := int64(c.config.Epochs * c.config.Minibatches)
			assert.Equal(t, g.AdamSteps+minibatches, after.Int64(kernels.SectionOptimizer, "step")[0])
			assert.Equal(t, g.NumTimesteps+int64(c.config.Rows()), after.Int64(kernels.SectionCounters, "env_steps")[0])
			assert.Equal(t, c.Step+1, after.Int64(kernels.SectionCounters, "updates")[0])
			assert.False(t, math.IsNaN(float64(stats[0].GradNorm)) || stats[0].GradNorm <= 0, "gradient of norm %v", stats[0].GradNorm)
		})
	}
}
