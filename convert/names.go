package convert

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// rename gives the tensors of a policy brood's names, in the same order, by the
// names that they have:
//
//	Stable-Baselines3   mlp_extractor.policy_net.N.*  action_net.*   actor.N.*
//	                    mlp_extractor.value_net.N.*   value_net.*    critic.N.*
//	                    log_std
//	CleanRL             actor_mean.N.*                               actor.N.*
//	                    actor_logstd [1, A]                          log_std [A]
//
// Names of brood's own, and CleanRL's that are the same, stay as they are.
func rename(list []named) []named {
	renamed := slices.Clone(list)
	hidden := map[string]int{} // hidden layers of an extractor that has them
	for i := range renamed {
		for _, net := range []string{"policy_net", "value_net"} {
			if rest, ok := strings.CutPrefix(renamed[i].name, "mlp_extractor."+net+"."); ok && strings.HasSuffix(rest, ".weight") {
				hidden[net]++
			}
		}
	}
	head := func(net string) string { return strconv.Itoa(2*hidden[net]) + "." }
	prefixes := [][2]string{
		{"mlp_extractor.policy_net.", "actor."}, {"action_net.", "actor." + head("policy_net")},
		{"mlp_extractor.value_net.", "critic."}, {"value_net.", "critic." + head("value_net")},
		{"actor_mean.", "actor."},
	}
	for i := range renamed {
		t := &renamed[i]
		if t.name == "actor_logstd" {
			t.name = logStd
			if len(t.shape) == 2 && t.shape[0] == 1 {
				t.shape = t.shape[1:]
			}
			continue
		}
		for _, p := range prefixes {
			if rest, ok := strings.CutPrefix(t.name, p[0]); ok {
				t.name = p[1] + rest
				break
			}
		}
	}
	return renamed
}

const logStd = "log_std"

// network is what the shapes of a policy's tensors say about it.
type network struct {
	observations, outputs, values int
	hidden                        []int
	continuous                    bool // there is a log_std
}

// unlike says what a policy is that brood has not, by the beginnings of names.
var unlike = [][2]string{
	{"features_extractor.", "a features extractor with parameters, such as that of CnnPolicy or MultiInputPolicy"},
	{"pi_features_extractor.", "a features extractor with parameters, such as that of CnnPolicy or MultiInputPolicy"},
	{"vf_features_extractor.", "a features extractor with parameters, such as that of CnnPolicy or MultiInputPolicy"},
	{"mlp_extractor.shared_net.", "layers that actor and critic share"},
	{"network.", "layers that actor and critic share"},
	{"lstm", "a recurrent policy"},
	{"q_net.", "a Q network (DQN), which is no policy with a critic of states"},
	{"critic.qf", "a critic of actions (SAC, TD3, DDPG), which is no critic of states"},
	{"critic_target.", "a critic of actions (SAC, TD3, DDPG), which is no critic of states"},
	{"actor.latent_pi.", "the actor of SAC"},
}

var tensorName = regexp.MustCompile(`^(actor|critic)\.(0|[1-9][0-9]{0,5})\.(weight|bias)$`)

// describe checks that the tensors, by brood's names, are two networks of linear
// layers with an activation between them, and says which.
func describe(list, original []named) (network, error) {
	var names []string
	for _, t := range original {
		names = append(names, t.name)
	}
	at := map[string][]int{}
	for i, t := range list {
		for _, u := range unlike {
			if strings.HasPrefix(original[i].name, u[0]) {
				return network{}, fmt.Errorf("%w: the tensor %.80q is of %s; brood has two networks of linear layers that share nothing; the file has %s",
					ErrRefused, original[i].name, u[1], listed(names))
			}
		}
		if !tensorName.MatchString(t.name) && t.name != logStd {
			return network{}, fmt.Errorf("%w: the tensor %.80q is not one of an actor and a critic of linear layers, named as by CleanRL, Stable-Baselines3 or brood; the file has %s",
				ErrRefused, original[i].name, listed(names))
		}
		if at[t.name] != nil {
			return network{}, fmt.Errorf("%w: the tensor %.80q is there twice, under different names; the file has %s", ErrRefused, t.name, listed(names))
		}
		at[t.name] = t.shape
		if at[t.name] == nil {
			at[t.name] = []int{}
		}
	}
	if at["actor.0.weight"] == nil || at["critic.0.weight"] == nil {
		return network{}, fmt.Errorf("%w: there is no actor or no critic: want actor.0.weight and critic.0.weight or what other programs call them; the file has %s", ErrRefused, listed(names))
	}
	actor, err := layers("actor", at)
	if err != nil {
		return network{}, err
	}
	critic, err := layers("critic", at)
	if err != nil {
		return network{}, err
	}
	a, c := len(actor)-1, len(critic)-1
	if !slices.Equal(actor[:a], critic[:c]) {
		return network{}, fmt.Errorf("%w: the actor has %d inputs and hidden layers %v, the critic %d and %v; those of brood's actor and critic are the same",
			ErrRefused, actor[0], actor[1:a], critic[0], critic[1:c])
	}
	n := network{observations: actor[0], hidden: actor[1:a], outputs: actor[a], values: critic[c]}
	if shape := at[logStd]; shape != nil {
		n.continuous = true
		if len(shape) != 1 || shape[0] != n.outputs {
			return n, fmt.Errorf("%w: log_std has shape %v and the actor %d outputs; want [%d]: a standard deviation per action and not per state (gSDE)",
				ErrRefused, shape, n.outputs, n.outputs)
		}
	}
	delete(at, logStd)
	if have, want := len(at), 2*(a+c); have != want {
		return n, fmt.Errorf("%w: %d tensors of networks, where %d linear layers follow one another at even numbers from 0; the file has %s", ErrRefused, have, want/2, listed(names))
	}
	return n, nil
}

// layers gives the widths of a network from its inputs to its outputs.
func layers(net string, at map[string][]int) ([]int, error) {
	var widths []int
	for i := 0; ; i += 2 {
		prefix := fmt.Sprintf("%s.%d.", net, i)
		weight, bias := at[prefix+"weight"], at[prefix+"bias"]
		if weight == nil && i > 0 {
			return widths, nil
		}
		if len(weight) != 2 || len(bias) != 1 || bias[0] != weight[0] || weight[0] < 1 || weight[1] < 1 {
			return nil, fmt.Errorf("%w: %sweight has shape %v and its bias %v; want [out, in] and [out]", ErrRefused, prefix, weight, shapeOrNone(bias))
		}
		if i == 0 {
			widths = append(widths, weight[1])
		} else if last := widths[len(widths)-1]; weight[1] != last {
			return nil, fmt.Errorf("%w: %sweight has shape %v; the layer before it has %d outputs", ErrRefused, prefix, weight, last)
		}
		widths = append(widths, weight[0])
	}
}

func shapeOrNone(shape []int) string {
	if shape == nil {
		return "there is none"
	}
	return fmt.Sprint(shape)
}
