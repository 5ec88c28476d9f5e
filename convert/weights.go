package convert

import "fmt"

// readWeights reads a state dict that torch.save wrote.
func readWeights(data []byte) (*agent, error) {
	root, err := readTorch(data, "the file")
	if err != nil {
		return nil, err
	}
	original, err := tensors(root)
	if err != nil {
		return nil, err
	}
	return weightsOf(kindWeights, original, nil)
}

func readSafetensors(data []byte) (*agent, error) {
	original, metadata, err := safetensors(data)
	if err != nil {
		return nil, err
	}
	return weightsOf(kindSafetensors, original, metadata)
}

// weightsOf makes an agent of a policy's tensors alone.
func weightsOf(kind string, original []named, metadata map[string]string) (*agent, error) {
	if len(original) == 0 {
		return nil, fmt.Errorf("%w: it holds no tensors", ErrRefused)
	}
	policy, statistics, err := splitNormalization(original)
	if err != nil {
		return nil, err
	}
	a, err := newAgent(kind, policy)
	if err != nil {
		return nil, err
	}
	a.env = metadata["env_id"]
	a.note("the file holds weights alone: the optimizer starts reset, and every hyperparameter has brood's default (--set)")
	a.takeExported(statistics, metadata)
	return a, nil
}
