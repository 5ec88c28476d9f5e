package export

import (
	"encoding/json"
	"strconv"
	"strings"

	"brood/ppo"
)

// property is an entry of a file's metadata. All are texts, as the formats want them.
type property struct{ key, value string }

// metadata says what the tensors alone do not: where the agent acts, how its networks
// are put together, and where it comes from. Lists are JSON.
func metadata(a *ppo.Agent) []property {
	list := []property{
		{"env_id", strings.ToValidUTF8(a.Env.ID, "?")}, {"step", strconv.FormatInt(a.Step, 10)}, {"brood_version", version()},
		{"obs_dim", strconv.Itoa(a.Env.ObsDim)}, {"action_type", a.Env.Action.Type}, {"action_n", strconv.Itoa(a.Env.Action.N)},
		{"hidden", jsonText(append([]int{}, a.Hidden...))}, {"activation", string(a.Activation)},
		{"critic_type", string(a.Critic)}, {"critic_outputs", strconv.Itoa(a.Values)},
		{"normalize_observations", strconv.FormatBool(a.Normalization != nil)},
	}
	if nvec := a.Env.Action.NVec; len(nvec) > 0 {
		list = append(list, property{"action_nvec", jsonText(nvec)})
	}
	if !a.Spec().Action.Discrete {
		list = append(list, property{"action_low", bounds(a.Env.Action.Low)}, property{"action_high", bounds(a.Env.Action.High)})
	}
	return list
}

// bounds writes a list as Python's json and float read it: JSON has no infinity.
func bounds(list []float32) string {
	text := "["
	for i, v := range list {
		if i > 0 {
			text += ", "
		}
		switch word := strconv.FormatFloat(float64(v), 'g', -1, 32); word {
		case "+Inf":
			text += "Infinity"
		case "-Inf":
			text += "-Infinity"
		default:
			text += word
		}
	}
	return text + "]"
}

// jsonText is the JSON of what cannot fail to have one: lists and maps of texts and
// integers.
func jsonText(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic("export: " + err.Error())
	}
	return string(text)
}
