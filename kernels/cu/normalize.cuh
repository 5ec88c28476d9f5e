// What the networks see of an observation: kernels/host/normalize.go.
#pragma once
#include "activation.cuh"

// inv_std is 1/sqrt(var + 1e-8).
DEVICE float inv_std(float variance) { return 1.f / sqrtf(variance + 1e-8f); }

// normalized is clip(x * inv_std, -10, 10), of an observation less its mean or of
// a reward. A NaN stays one.
DEVICE float normalized(float x, float inv_std) { return within(x * inv_std, -10.f, 10.f); }
