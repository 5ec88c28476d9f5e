package ppo

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"brood/ckpt"
	"brood/env"
	"brood/kernels"
	"brood/tensor"
)

// Agent is what a member file says of the agent in it: its networks, what it sees
// and what it does. The environment itself need not be registered in this program.
type Agent struct {
	// Env is the environment the agent was trained on.
	Env ckpt.EnvInfo
	// Step is the number of updates done.
	Step int64
	// Hidden are the widths of the hidden layers of both networks, and Activation
	// follows each of them.
	Hidden     []int
	Activation kernels.Activation
	// Critic is the critic's type, and Values the number of its outputs: K of a
	// quantile critic, else 1.
	Critic kernels.CriticType
	Values int
	// Tensors are the policy's, with PyTorch's names, in the layout's order:
	// actor.0.weight [out, in], actor.0.bias [out], ..., critic.*, and log_std [A]
	// for continuous actions.
	Tensors []AgentTensor
	// Normalization of the observations; nil: the networks see them as they are.
	Normalization *Normalization
	// Verified says that the file carried checksums, and that they hold.
	Verified bool
}

// AgentTensor is a tensor of an agent, in C order.
type AgentTensor struct {
	Name  string
	Shape []int
	Data  []float32
}

// Normalization holds the statistics by which the networks see an observation:
// clip((x - Mean)/sqrt(Var + 1e-8), -10, 10).
type Normalization struct {
	Mean, Var []float32 // [D]
	// Count is the number of observations they are of.
	Count float64
}

// Spec describes what the agent sees and does. The environment's state is no part
// of it: StateSize is 1. It panics where Env has no such type of actions, which
// [ReadAgent] refuses.
func (a *Agent) Spec() env.Spec {
	spec, err := a.Env.Spec()
	if err != nil {
		panic("ppo: an agent's environment: " + err.Error())
	}
	return spec
}

// ReadAgent takes the agent out of a checkpoint of format [ckpt.V2], whatever else
// is in it. The widths of the networks are those of the tensors. It refuses
// tensors that are no two networks for the environment, and values that are not
// finite: such an agent cannot act. The bytes of the file are not kept.
func ReadAgent(c *ckpt.Checkpoint) (*Agent, error) {
	if c.FormatVersion != ckpt.V2 {
		return nil, fmt.Errorf("ppo: the checkpoint is %s: it holds weights alone and does not say for which environment and network; want %s", c.FormatVersion, ckpt.V2)
	}
	spec, err := c.Env.Spec()
	if err == nil {
		err = env.ValidateSpec(spec)
	}
	if err != nil {
		return nil, fmt.Errorf("ppo: the checkpoint's environment: %w", err)
	}
	a := &Agent{Env: c.Env, Step: c.Step, Verified: c.Verified}
	normalized, err := a.configure(c.Config)
	if err != nil {
		return nil, fmt.Errorf("ppo: the configuration in the checkpoint: %w", err)
	}
	if err := a.readNetworks(c); err != nil {
		return nil, fmt.Errorf("ppo: the agent in the checkpoint: %w", err)
	}
	if normalized {
		if err := a.readNormalization(c); err != nil {
			return nil, fmt.Errorf("ppo: the agent in the checkpoint: %w", err)
		}
	}
	return a, nil
}

// described is an environment of which nothing but the description is known.
type described struct {
	env.Vector
	spec env.Spec
}

func (d described) Spec() env.Spec { return d.spec }

// kernelsConfig is as much of an engine's configuration as the places of the
// parameters follow from.
func (a *Agent) kernelsConfig() *kernels.Config {
	return &kernels.Config{Env: described{spec: a.Spec()}, Hidden: a.Hidden, Activation: a.Activation,
		Critic: kernels.Critic{Type: a.Critic, Quantiles: a.Values}}
}

func (a *Agent) readNetworks(c *ckpt.Checkpoint) error {
	shapes := map[string][]int{}
	for _, s := range c.Sections() {
		if s.Name == kernels.SectionPolicy {
			for _, t := range s.Tensors {
				shapes[t.Name] = t.Shape
			}
		}
	}
	actor, err := outputs("actor", shapes)
	if err != nil {
		return err
	}
	critic, err := outputs("critic", shapes)
	if err != nil {
		return err
	}
	a.Hidden = actor[:len(actor)-1]
	if a.Values = 1; a.Critic == kernels.QuantileCritic {
		a.Values = critic[len(critic)-1]
	}
	for _, spec := range kernels.PolicyTensors(a.kernelsConfig()) {
		data, err := c.Tensor(kernels.SectionPolicy, spec)
		if err != nil {
			return err
		}
		t := AgentTensor{Name: spec.Name, Shape: spec.Shape, Data: floats(data)}
		if err := t.checkFinite(); err != nil {
			return err
		}
		a.Tensors = append(a.Tensors, t)
		delete(shapes, spec.Name)
	}
	for name := range shapes {
		return fmt.Errorf("%w: section %s has a tensor %.80q, which networks of the hidden layers %v have not", ckpt.ErrIncompatible, kernels.SectionPolicy, name, a.Hidden)
	}
	return nil
}

// outputs gives the number of outputs of each layer of a network.
func outputs(network string, shapes map[string][]int) ([]int, error) {
	var widths []int
	for i := 0; ; i += 2 {
		name := fmt.Sprintf("%s.%d.weight", network, i)
		shape, there := shapes[name]
		switch {
		case !there && i > 0:
			return widths, nil
		case !there:
			return nil, fmt.Errorf("%w: section %s lacks the tensor %s", ckpt.ErrIncompatible, kernels.SectionPolicy, name)
		case len(shape) != 2 || slices.Min(shape) < 1 || slices.Max(shape) > maxWidth:
			return nil, fmt.Errorf("%w: section %s, tensor %s has shape %v; want [out, in] with each from 1 to %d", ckpt.ErrIncompatible, kernels.SectionPolicy, name, shape, maxWidth)
		case len(widths) > maxLayers:
			return nil, fmt.Errorf("%w: section %s has more than %d hidden layers", ckpt.ErrIncompatible, kernels.SectionPolicy, maxLayers)
		}
		widths = append(widths, shape[0])
	}
}

func (a *Agent) readNormalization(c *ckpt.Checkpoint) error {
	n := &Normalization{}
	for name, dst := range map[string]*[]float32{"mean": &n.Mean, "var": &n.Var} {
		data, err := c.Tensor(kernels.SectionObservationNorm, tensor.Spec{Name: name, Shape: []int{a.Env.ObsDim}})
		if err != nil {
			return err
		}
		*dst = floats(data)
		t := AgentTensor{Name: kernels.SectionObservationNorm + "." + name, Data: *dst}
		if err := t.checkFinite(); err != nil {
			return err
		}
	}
	if least := slices.Min(n.Var); least < 0 {
		return fmt.Errorf("%w: %s.var has %v; a variance is at least 0", ckpt.ErrIncompatible, kernels.SectionObservationNorm, least)
	}
	count, err := c.Tensor(kernels.SectionObservationNorm, tensor.Spec{Name: "count", Shape: []int{}, DType: tensor.Float64})
	if err != nil {
		return err
	}
	n.Count = math.Float64frombits(binary.LittleEndian.Uint64(count))
	a.Normalization = n
	return nil
}

func (t *AgentTensor) checkFinite() error {
	if at, value := firstNonFinite(t.Data); at >= 0 {
		return fmt.Errorf("%w: %s has %v at element %d: every value must be finite", ckpt.ErrIncompatible, t.Name, value, at)
	}
	return nil
}

func floats(data []byte) []float32 {
	list := make([]float32, len(data)/4)
	for i := range list {
		list[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return list
}
