package ppo

import (
	"fmt"

	"github.com/goccy/go-yaml/ast"

	"brood/internal/yamltext"
	"brood/kernels"
)

// The configuration in a checkpoint belongs to package train, which reads all of it
// and refuses what it does not know. An agent is to be used without the program that
// trained it, so of that text nothing is read here but what the tensors do not say:
// policy.activation, critic.type and ppo.normalize_observations. What is not there
// has its default, as in train.

// configure takes those keys from the text and says whether observations are
// normalised.
func (a *Agent) configure(text string) (normalized bool, err error) {
	file, problem := yamltext.Parse([]byte(text))
	if problem != "" {
		return false, fmt.Errorf("%s", problem)
	}
	a.Activation, a.Critic = DefaultPolicy().Activation, DefaultCritic().Type
	var root ast.Node
	if n := len(file.Docs); n > 1 {
		return false, fmt.Errorf("%d YAML documents; a configuration is one", n)
	} else if n == 1 {
		root = file.Docs[0].Body
	}
	activation, kind := string(a.Activation), string(a.Critic)
	for _, key := range []struct {
		section, name string
		set           func(ast.Node) bool
		want          string
	}{
		{"policy", "activation", textOf(&activation, string(kernels.Tanh), string(kernels.ReLU)), "tanh or relu"},
		{"critic", "type", textOf(&kind, string(kernels.ScalarCritic), string(kernels.QuantileCritic)), "scalar or quantile"},
		{"ppo", "normalize_observations", switchOf(&normalized), "true or false"},
	} {
		section, err := valueOf(root, key.section)
		if err != nil {
			return false, err
		}
		value, err := valueOf(section, key.name)
		if err != nil {
			return false, fmt.Errorf("%s: %w", key.section, err)
		}
		if value != nil && !key.set(value) {
			return false, fmt.Errorf("%s.%s is %s; must be %s", key.section, key.name, written(value), key.want)
		}
	}
	a.Activation, a.Critic = kernels.Activation(activation), kernels.CriticType(kind)
	return normalized, nil
}

// written is what a message shows of a value.
func written(n ast.Node) string {
	if n.Type() == ast.NullType {
		return "empty"
	}
	return yamltext.Shortened(n.String(), 80)
}

func textOf(dst *string, valid ...string) func(ast.Node) bool {
	return func(n ast.Node) bool {
		s, ok := n.(*ast.StringNode)
		for _, v := range valid {
			if ok && s.Value == v {
				*dst = v
				return true
			}
		}
		return false
	}
}

func switchOf(dst *bool) func(ast.Node) bool {
	return func(n ast.Node) bool {
		b, ok := n.(*ast.BoolNode)
		if ok {
			*dst = b.Value
		}
		return ok
	}
}

// valueOf is the value of a key of a mapping; nil where there is none.
func valueOf(n ast.Node, name string) (ast.Node, error) {
	var pairs []*ast.MappingValueNode
	switch n := n.(type) {
	case nil, *ast.NullNode: // nothing under the key: the defaults
	case *ast.MappingNode:
		pairs = n.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{n}
	default:
		return nil, fmt.Errorf("is %s; must be keys with their values", written(n))
	}
	for _, pair := range pairs {
		if pair.Key.GetToken().Value == name {
			return pair.Value, nil
		}
	}
	return nil, nil
}
