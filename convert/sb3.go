package convert

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strconv"

	"brood/kernels"
)

const (
	kindSB3         = "Stable-Baselines3 PPO"
	kindWeights     = "weights of torch.save"
	kindSafetensors = "weights of safetensors"
)

// readSB3 reads a model that Stable-Baselines3 saved.
func readSB3(z *archive) (*agent, error) {
	text, err := z.entry("data")
	if err != nil {
		return nil, err
	}
	var data map[string]json.RawMessage
	if err := json.Unmarshal(text, &data); err != nil {
		return nil, damaged("its entry data is not JSON: %v", err)
	}
	d := sb3Data(data)
	policy, err := z.entry("policy.pth")
	if err != nil {
		return nil, err
	}
	root, err := readTorch(policy, "policy.pth")
	if err != nil {
		return nil, err
	}
	original, err := tensors(root)
	if err != nil {
		return nil, fmt.Errorf("policy.pth: %w", err)
	}
	if string(d["use_sde"]) == "true" {
		return nil, fmt.Errorf("%w: the policy explores depending on the state (use_sde); brood's log_std is the same in every state", ErrRefused)
	}
	a, err := newAgent(kindSB3, original)
	if err != nil {
		return nil, err
	}
	if _, ok := d["n_epochs"]; !ok {
		return nil, fmt.Errorf("%w: its entry data has no n_epochs, which every model of Stable-Baselines3's PPO has: it is of another algorithm, such as A2C", ErrRefused)
	}
	if err := d.read(a); err != nil {
		return nil, fmt.Errorf("its entry data: %w", err)
	}
	if err := a.readOptimizer(z, d); err != nil {
		return nil, fmt.Errorf("policy.optimizer.pth: %w", err)
	}
	return a, nil
}

// sb3Data is the entry data: attributes of the model, by name. Those that are not
// plain JSON are objects with a pickle in them, which is never opened, and with
// texts of their attributes beside it.
type sb3Data map[string]json.RawMessage

// constantSchedule is how Stable-Baselines3 prints a hyperparameter that may be a
// function and is a number.
var constantSchedule = regexp.MustCompile(`^ConstantSchedule\(val=([-+0-9.eE]+)\)$`)

// number reads an attribute that is a number, or a schedule that says it is one. why
// says, where there is no number, what there is instead; null is nothing at all.
func (d sb3Data) number(key string) (value float64, why string) {
	text, ok := d[key]
	if !ok {
		return 0, "is not in the file"
	}
	if string(text) == "null" {
		return 0, "is None"
	}
	if err := json.Unmarshal(text, &value); err == nil {
		return value, ""
	}
	var object struct {
		Schedule string `json:"value_schedule"`
	}
	if err := json.Unmarshal(text, &object); err == nil {
		if m := constantSchedule.FindStringSubmatch(object.Schedule); m != nil {
			if value, err := strconv.ParseFloat(m[1], 64); err == nil {
				return value, ""
			}
		}
		return 0, "is a pickled object, such as a schedule, and pickles are not opened"
	}
	return 0, fmt.Sprintf("is %.40q and not a number", text)
}

// integer reads an attribute that is a whole number from least on.
func (d sb3Data) integer(key string, least int64) (int64, error) {
	text, ok := d[key]
	if !ok {
		return 0, damaged("there is no %s", key)
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || n < least || n > math.MaxInt32*1000 {
		return 0, damaged("%s is %.40s; want a whole number from %d", key, text, least)
	}
	return n, nil
}

func (d sb3Data) read(a *agent) error {
	for _, f := range []struct {
		name, key string
		target    *float64
		scale     float64
		from      string
		optional  bool // None means that it is off
	}{
		{"gamma", "ppo.gamma", &a.cfg.PPO.Gamma, 1, "gamma", false},
		{"gae_lambda", "ppo.gae_lambda", &a.cfg.PPO.GAELambda, 1, "gae_lambda", false},
		{"clip_range", "ppo.clip_range", &a.cfg.PPO.ClipRange, 1, "clip_range", false},
		{"clip_range_vf", "ppo.value_clip", &a.cfg.PPO.ValueClip, 1, "clip_range_vf; here the larger loss of the clipped and the free value counts", true},
		{"ent_coef", "ppo.entropy_coef", &a.cfg.PPO.EntropyCoef, 1, "ent_coef", false},
		{"vf_coef", "ppo.value_coef", &a.cfg.PPO.ValueCoef, 2, "2 vf_coef: the loss here is half the squared error", false},
		{"max_grad_norm", "ppo.max_grad_norm", &a.cfg.PPO.MaxGradNorm, 1, "max_grad_norm", false},
		{"target_kl", "ppo.target_kl", &a.cfg.PPO.TargetKL, 1, "target_kl", true},
	} {
		value, why := d.number(f.name)
		switch {
		case why == "":
			*f.target = f.scale * value
			a.take(f.key, nil, f.from)
		case f.optional && string(d[f.name]) == "null":
			*f.target = 0
			a.take(f.key, nil, f.name+" is None: off")
		default:
			a.note("%s %s: %s is %v; --set %s=...", f.name, why, f.key, *f.target, f.key)
		}
	}
	if err := d.sizes(a); err != nil {
		return err
	}
	switch text := string(d["normalize_advantage"]); text {
	case "true", "false":
		a.cfg.PPO.NormalizeAdvantage = text == "true"
		a.take("ppo.normalize_advantage", nil, "normalize_advantage")
	default:
		a.note("normalize_advantage is not in the file: true, as in versions of Stable-Baselines3 that do not have it")
	}
	if n, err := strconv.ParseUint(string(d["seed"]), 10, 64); err == nil {
		a.cfg.Run.Seed = n
		a.take("run.seed", nil, "seed")
	}
	a.cfg.PPO.VGS.Enabled = false
	a.take("ppo.vgs.enabled", nil, kindSB3+" has none")
	// What is not null here are observations from before they were normalised.
	if last := string(d["_last_original_obs"]); last != "null" && last != "" {
		a.note("the agent saw observations that VecNormalize had normalised, and its statistics are in another file (vecnormalize.pkl), " +
			"a pickle, which is not opened: without them the agent will not play as it did")
	}
	return d.activation(a)
}

// sizes reads the numbers of environments, steps, epochs and minibatches, which
// have to fit each other.
func (d sb3Data) sizes(a *agent) error {
	var n [5]int64
	for i, key := range []string{"n_steps", "n_envs", "n_epochs", "batch_size", "num_timesteps"} {
		value, err := d.integer(key, []int64{1, 1, 1, 1, 0}[i])
		if err != nil {
			return err
		}
		n[i] = value
	}
	steps, envs, epochs, batch := n[0], n[1], n[2], n[3]
	if steps > math.MaxInt32 || envs > maxEnvironments || epochs > math.MaxInt32 || steps*envs > maxRows {
		return fmt.Errorf("%w: n_steps is %d, n_envs %d and n_epochs %d; at most %d environments and %d steps of all of them are taken", ErrRefused,
			steps, envs, epochs, maxEnvironments, maxRows)
	}
	rows := steps * envs
	minibatches := max(rows/batch, 1)
	for rows%minibatches != 0 {
		minibatches--
	}
	if minibatches*batch != rows {
		a.note("batch_size %d does not divide the %d rows of a rollout, and minibatches here are equal: %d of %d rows are used; --set ppo.minibatches=...",
			batch, rows, minibatches, rows/minibatches)
	}
	a.envSteps = n[4]
	a.cfg.PPO.Steps, a.cfg.Env.Count, a.cfg.PPO.Epochs, a.cfg.PPO.Minibatches = int(steps), envs, int(epochs), int(minibatches)
	a.take("env.count", nil, "n_envs")
	a.take("ppo.steps", nil, "n_steps")
	a.take("ppo.epochs", nil, "n_epochs")
	a.take("ppo.minibatches", nil, fmt.Sprintf("n_steps n_envs / batch_size = %d/%d", rows, batch))
	return nil
}

// maxRows bounds a rollout: who plays the checkpoint sets memory aside for one.
const maxRows = 1 << 24

// activations are those that brood has, by the text of Python's class.
var activations = map[string]kernels.Activation{
	"<class 'torch.nn.modules.activation.Tanh'>": kernels.Tanh,
	"<class 'torch.nn.modules.activation.ReLU'>": kernels.ReLU,
}

func (d sb3Data) activation(a *agent) error {
	var kwargs struct {
		Activation *string `json:"activation_fn"`
	}
	text := d["policy_kwargs"]
	if err := json.Unmarshal(text, &kwargs); text != nil && err != nil {
		return damaged("policy_kwargs: %v", err)
	}
	if kwargs.Activation == nil {
		a.activation = kernels.Tanh // MlpPolicy's default
		return nil
	}
	activation, ok := activations[*kwargs.Activation]
	if !ok {
		return fmt.Errorf("%w: the activation is %.80q; brood has torch.nn.Tanh and torch.nn.ReLU", ErrRefused, *kwargs.Activation)
	}
	a.activation = activation
	return nil
}
