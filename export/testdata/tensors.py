"""Holds files of tensors against the checkpoint they are of, bit for bit."""

import json
import sys

import msgpack
import msgpack_numpy
import numpy as np
import safetensors
import safetensors.numpy

request = json.load(sys.stdin)
with open(request["checkpoint"], "rb") as f:
    data = msgpack.unpackb(f.read(), object_hook=msgpack_numpy.decode)["data"]
want = dict(data["policy"])
if request["normalized"]:
    want |= {"observation_norm." + name: np.asarray(value) for name, value in data["observation_norm"].items()}

with safetensors.safe_open(request["safetensors"], framework="numpy") as f:
    metadata = f.metadata()
with np.load(request["npz"], allow_pickle=False) as archive:
    npz = dict(archive)
    assert json.loads(str(npz.pop("metadata"))) == metadata
for kind, have in {"safetensors": safetensors.numpy.load_file(request["safetensors"]), "npz": npz}.items():
    assert have.keys() == want.keys(), (kind, sorted(have), sorted(want))
    for name, array in have.items():
        assert array.shape == want[name].shape, (kind, name, array.shape)
        dtype = np.float64 if name == "observation_norm.count" else np.float32
        assert array.dtype == dtype, (kind, name, array.dtype)
        assert array.tobytes() == want[name].astype(dtype).tobytes(), (kind, name)
print(json.dumps(metadata))
