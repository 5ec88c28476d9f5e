"""What ONNX itself says of a model, and what ONNX Runtime computes with it."""

import json
import sys

import numpy as np
import onnx
import onnxruntime

request = json.load(sys.stdin)
model = onnx.load(request["model"])
onnx.checker.check_model(model, full_check=True)
session = onnxruntime.InferenceSession(request["model"], providers=["CPUExecutionProvider"])
names = [output.name for output in session.get_outputs()]
results = dict(zip(names, session.run(names, {"observation": np.asarray(request["observations"], np.float32)})))


def described(arrays):
    return [{"name": a.name, "type": a.type, "shape": a.shape} for a in arrays]


print(json.dumps({
    "inputs": described(session.get_inputs()), "outputs": described(session.get_outputs()),
    "metadata": session.get_modelmeta().custom_metadata_map, "producer": model.producer_name,
    "operators": sorted({node.op_type for node in model.graph.node}),
    "actions": results["action"].ravel().tolist(), "values": results["value"].tolist(),
    "quantiles": results["quantiles"].tolist() if "quantiles" in results else []}))
