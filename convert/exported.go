package convert

import (
	"fmt"
	"slices"
	"strings"

	"brood/kernels"
)

// `brood export` writes weights with what belongs to them: the statistics by which an
// agent sees its observations, as tensors of their own, and in the metadata the
// activation and the type of the critic.

const normalizationPrefix = kernels.SectionObservationNorm + "."

// splitNormalization takes the statistics of observations out of a list of tensors,
// where they are there. Their names are then those of the section.
func splitNormalization(list []named) (policy, statistics []named, err error) {
	for _, t := range list {
		name, ok := strings.CutPrefix(t.name, normalizationPrefix)
		if !ok {
			policy = append(policy, t)
			continue
		}
		if !slices.Contains([]string{"mean", "var", "count"}, name) || slices.ContainsFunc(statistics, func(s named) bool { return s.name == name }) {
			return nil, nil, fmt.Errorf("%w: the tensor %.80q; of the statistics of observations there are %smean, var and count", ErrRefused, t.name, normalizationPrefix)
		}
		t.name = name
		statistics = append(statistics, t)
	}
	if n := len(statistics); n != 0 && n != 3 {
		return nil, nil, fmt.Errorf("%w: %d of %smean, var and count are there; want all of them or none", ErrRefused, n, normalizationPrefix)
	}
	return policy, statistics, nil
}

// takeExported puts what brood's own files say over the defaults. The metadata of
// another program can have the same keys and mean something else.
func (a *agent) takeExported(statistics []named, metadata map[string]string) {
	if metadata["brood_version"] == "" {
		metadata = nil
	}
	if statistics != nil {
		a.normalization = statistics
		a.cfg.PPO.NormalizeObservations = true
		a.take("ppo.normalize_observations", true, normalizationPrefix+"mean, var and count")
	} else if metadata["normalize_observations"] != "false" {
		a.note("normalisation of observations is not in the file: an agent that was trained with one, as CleanRL's of continuous actions are, will not play as it did")
	}
	a.activation = kernels.Activation(metadata["activation"])
	if kernels.CriticType(metadata["critic_type"]) == kernels.QuantileCritic {
		a.cfg.Critic.Type, a.cfg.Critic.Quantiles = kernels.QuantileCritic, a.net.values
		a.take("critic.type", a.cfg.Critic.Type, "critic_type")
		a.take("critic.quantiles", a.cfg.Critic.Quantiles, "the critic's outputs")
	}
}
