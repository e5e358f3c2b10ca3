"""Read the weights of a block-quantised ONNX network as plain float32. Needs onnx and numpy alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper


def constants(graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    """Every weight by name, block-dequantised to float32 where it was quantised."""
    values = {w.name: numpy_helper.to_array(w) for w in graph.initializer}
    for node in graph.node:
        if node.op_type == "DequantizeLinear":
            values[node.output[0]] = dequantised(*(values[n] for n in node.input), **attributes(node))
        elif node.op_type == "Reshape" and node.input[0] in values:
            values[node.output[0]] = values[node.input[0]].reshape(values[node.input[1]])
        elif node.op_type == "Constant":
            values[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return values


def dequantised(q: np.ndarray, scale: np.ndarray, zero: np.ndarray, *, block_size: int, axis: int) -> np.ndarray:
    """Undo DequantizeLinear's blocks: one scale and zero point per `block_size` values along `axis`."""
    length = q.shape[axis]
    spread = [np.take(np.repeat(a, block_size, axis), range(length), axis).astype(np.float32) for a in (scale, zero)]
    return (q.astype(np.float32) - spread[1]) * spread[0]


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """The node's attributes as plain values."""
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
