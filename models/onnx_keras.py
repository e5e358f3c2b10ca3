"""Rebuild a small block-quantised ONNX network in Keras, weight for weight. Knows the operators of YuNet and SFace.

Transposes and reshapes are dropped: Keras is channels-last already, and whoever calls reshapes the outputs. Dropout and
Flatten are passed through, so a Gemm must follow a Flatten of a channels-first map, whose weights are permuted here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
from onnx import numpy_helper

from onnx_weights import attributes, constants

layers = tf.keras.layers


def image_input(graph: onnx.GraphProto, const: dict[str, np.ndarray]) -> str:
    """Name of the one input that is no weight; SFace's file still lists the weights that quantisation replaced."""
    return next(n for node in graph.node for n in node.input if n in {i.name for i in graph.input} and n not in const)


def onnx_outputs(path: Path, image: np.ndarray) -> dict[str, np.ndarray]:
    """What onnxruntime says for one (1, h, w, 3) float32 image; the reference for every conversion.

    The weights are dequantised here: onnxruntime refuses the block-quantised scalars of YuNet's file.
    """
    graph = onnx.load(path).graph
    const = constants(graph)
    nodes = [n for n in graph.node if not (set(n.output) & set(const))]
    inputs = [i for i in graph.input if i.name == image_input(graph, const)]
    used = {n for node in nodes for n in node.input} & set(const)
    weights = [numpy_helper.from_array(const[n].copy(), n) for n in sorted(used)]
    plain = onnx.helper.make_graph(nodes, "plain", inputs, list(graph.output), weights)
    model = onnx.helper.make_model(plain, opset_imports=[onnx.helper.make_opsetid("", 21)])
    session = onnxruntime.InferenceSession(model.SerializeToString())
    names = [o.name for o in graph.output]
    return dict(zip(names, session.run(names, {inputs[0].name: image.transpose(0, 3, 1, 2)}), strict=True))


def convolved(x: Any, weights: np.ndarray, bias: np.ndarray | None, at: dict[str, Any], name: str) -> Any:
    """Conv, plain or depthwise; padding is made explicit where TensorFlow's "same" would pad another side."""
    stride, pad, kernel = at["strides"][0], at["pads"][0], weights.shape[2]
    same = stride == 1 and pad == kernel // 2
    if pad and not same:
        x = layers.ZeroPadding2D(pad)(x)
    shape = {"kernel_size": kernel, "strides": stride, "padding": "same" if same else "valid", "name": name}
    shape["use_bias"] = bias is not None
    if at.get("group", 1) == 1:
        layer, arranged = layers.Conv2D(weights.shape[0], **shape), weights.transpose(2, 3, 1, 0)
    else:
        layer, arranged = layers.DepthwiseConv2D(**shape), weights.transpose(2, 3, 0, 1)
    y = layer(x)
    layer.set_weights([arranged] + ([bias] if bias is not None else []))
    return y


def normalised(x: Any, weights: list[np.ndarray], epsilon: float, name: str) -> Any:
    """BatchNormalization with its four ONNX vectors, which Keras keeps in the same order."""
    layer = layers.BatchNormalization(epsilon=epsilon, name=name)
    y = layer(x)
    layer.set_weights(weights)
    return y


def sloped(x: Any, slopes: np.ndarray, name: str) -> Any:
    """PReLU with one slope per channel."""
    layer = layers.PReLU(shared_axes=[1, 2], name=name)
    y = layer(x)
    layer.set_weights([slopes.reshape(1, 1, -1)])
    return y


def multiplied(x: Any, weights: np.ndarray, bias: np.ndarray, name: str) -> Any:
    """Gemm on a flattened map, as a convolution over the whole map: no transpose, and XNNPACK takes it."""
    height, width, channels = x.shape[1:]
    layer = layers.Conv2D(weights.shape[0], (height, width), name=name)
    y = layer(x)
    layer.set_weights([weights.reshape(-1, channels, height, width).transpose(2, 3, 1, 0), bias])
    return y


def rebuild(
    path: Path, height: int, width: int, *, first: Callable[[np.ndarray], np.ndarray] = lambda weights: weights
) -> tf.keras.Model:
    """The network with a (1, height, width, 3) input; its outputs are (1, h, w, c) maps by their ONNX names.

    `first` may change the first convolution's weights, e.g. to swap the colours.
    """
    graph = onnx.load(path).graph
    const = constants(graph)
    data = image_input(graph, const)
    seen: dict[str, Any] = {data: tf.keras.Input((height, width, 3), 1, name="image")}
    for node in graph.node:
        if not any(n in seen for n in node.input):
            continue
        x = [seen[n] for n in node.input if n in seen]
        w = [const[n] for n in node.input if n in const]
        name, at = node.output[0].replace(".", "_").replace("/", "_").lstrip("_:"), attributes(node)
        match node.op_type:
            case "Conv":
                w[0], first = first(w[0]), lambda weights: weights
                y = convolved(x[0], w[0], w[1] if len(w) > 1 else None, at, name)
            case "BatchNormalization":
                y = normalised(x[0], w, at["epsilon"], name)
            case "PRelu":
                y = sloped(x[0], w[0], name)
            case "Gemm":
                y = multiplied(x[0], w[0], w[1], name)
            case "Relu":
                y = layers.ReLU()(x[0])
            case "Sigmoid":
                y = layers.Activation("sigmoid")(x[0])
            case "MaxPool":
                y = layers.MaxPool2D(2)(x[0])
            case "Resize":
                # not UpSampling2D: that bakes the size in, and XNNPACK leaves it out
                y = tf.nn.depth_to_space(layers.Concatenate()([x[0]] * 4), 2)
            case "Add":
                y = layers.Add()(x)
            case "Sub":
                y = layers.Rescaling(1.0, offset=-float(w[0].item()))(x[0])
            case "Mul":
                y = layers.Rescaling(float(w[0].item()))(x[0])
            case "Transpose" | "Reshape" | "Dropout" | "Flatten":
                y = x[0]
            case other:
                raise ValueError(f"{path.name}: operator {other} is not known here")
        seen[node.output[0]] = y
    return tf.keras.Model(seen[data], {o.name: seen[o.name] for o in graph.output})
