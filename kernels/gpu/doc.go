// Package gpu is the engine for NVIDIA GPUs (build tag cuda). A population lies
// whole in device memory, spread over one or more GPUs as shards of neighbouring
// members; an iteration is two graph launches per GPU, and the host waits for
// nothing but the statistics. The kernels are in package cu.
//
// Files, in the order of an iteration: engine.go (the contract's methods),
// shard.go (one GPU's part), collect.go (environments on the device),
// collect_host.go (environments on the host), update.go, results.go
// (statistics), exploit.go, transfer.go (states and rollouts), snapshot.go,
// evaluate.go.
package gpu
