"""The masked-face network as plain arrays: SFace's chain of convolutions normalisations folded in. Numpy alone.

`layers` hold weights (out, in, k, k) or, depthwise, (channels, 1, k, k), a bias and one PReLU slope per channel. What
comes after the last layer is one product over the whole 7 x 7 map: the embedding. Whether a mask is worn is told on the
way, after layer MASK_AT.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

MASK_AT = 20
"""Number of the layer whose map the mask is told from."""


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One convolution with its activation."""

    weights: Array
    bias: Array
    slopes: Array
    stride: int
    depthwise: bool


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """What tells mask from bare: patches of 2 x 2 of a map through a ReLU, then each place's weights."""

    patch: Array
    """(8, 512, 2, 2)"""
    patch_bias: Array
    told: Array
    """(8, 7, 7) weights of the logit: the face is aligned, so each place counts by itself."""
    told_bias: Array
    """()"""


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """The network. Its input is RGB / 128 less 127.5 / 128."""

    layers: tuple[Layer, ...]
    head: Array
    """(128, 1024, 7, 7)"""
    head_bias: Array
    mask: Mask | None
    """None before train_mask.py."""


def save(path: Path, chain: Chain) -> None:
    """Write the arrays as .npz."""
    arrays = {"head": chain.head, "head_bias": chain.head_bias}
    if chain.mask:
        arrays |= {f"mask.{field.name}": getattr(chain.mask, field.name) for field in fields(Mask)}
    for number, layer in enumerate(chain.layers):
        arrays |= {f"{number}.weights": layer.weights, f"{number}.bias": layer.bias, f"{number}.slopes": layer.slopes}
        arrays[f"{number}.shape"] = np.array([layer.stride, layer.depthwise])
    np.savez(path, **arrays)


def load(path: Path) -> Chain:
    """Read what `save` wrote."""
    with np.load(path) as file:
        found = {name: file[name] for name in file.files}
    layers = []
    for n in range(sum(name.endswith(".weights") for name in found)):
        stride, depthwise = found[f"{n}.shape"]
        weights, bias, slopes = (found[f"{n}.{part}"] for part in ("weights", "bias", "slopes"))
        layers.append(Layer(weights, bias, slopes, int(stride), bool(depthwise)))
    told = [found[f"mask.{field.name}"] for field in fields(Mask) if "mask.told" in found]
    return Chain(tuple(layers), found["head"], found["head_bias"], Mask(*told) if told else None)


def from_onnx(path: Path) -> Chain:
    """SFace's block-quantised ONNX file with every normalisation folded into the convolution before it, in float64."""
    import onnx

    from onnx_keras import attributes, constants

    graph = onnx.load(path).graph
    const = constants(graph)
    layers: list[Layer] = []
    weights = bias = head = head_bias = np.zeros(0)
    for node in graph.node:
        given = [const[name].astype(np.float64) for name in node.input if name in const]
        at = attributes(node)
        if node.op_type == "Conv":
            weights, stride, depthwise = given[0], at["strides"][0], at["group"] > 1
        elif node.op_type == "BatchNormalization":
            scale = given[0] / np.sqrt(given[3] + at["epsilon"])
            shift = given[1] - given[2] * scale
            if node.output[0] == "bn1":
                before_head = scale, shift
            elif node.output[0] == "fc1":
                head, head_bias = head * scale[:, None, None, None], head_bias * scale + shift
            else:
                weights, bias = weights * scale[:, None, None, None], shift
        elif node.op_type == "PRelu":
            layers.append(Layer(*(a.astype(np.float32) for a in (weights, bias, given[0].ravel())), stride, depthwise))
        elif node.op_type == "Gemm":
            head = given[0].reshape(128, -1, 7, 7)
            head_bias = given[1] + (head * before_head[1][None, :, None, None]).sum((1, 2, 3))
            head = head * before_head[0][None, :, None, None]
    return tamed(Chain(tuple(layers), head.astype("f4"), head_bias.astype("f4"), None))


def tamed(chain: Chain) -> Chain:
    """The same function with no slope over 1: PReLU with slope a of x is -a times PReLU with slope 1 / a of -x."""
    steep = [layer.slopes > 1 for layer in chain.layers]
    layers = tuple(
        replace(layer, slopes=np.where(s, 1 / np.where(s, layer.slopes, 1), layer.slopes).astype("f4"))
        for layer, s in zip(chain.layers, steep, strict=True)
    )
    signs = [np.where(s, -1.0, 1.0) for s in steep]
    grown = [np.where(s, -layer.slopes, 1.0) for layer, s in zip(chain.layers, steep, strict=True)]
    return scaled(replace(chain, layers=layers), signs, grown)


def equalised(chain: Chain, reach: list[Array]) -> Chain:
    """The same function with even channels: each layer's output channel divided by its `reach`, the next layer's
    input multiplied by it. Exact, because PReLU is positively homogeneous. `reach` holds one positive array per layer.
    """
    return scaled(chain, [1 / r for r in reach], list(reach))


def scaled(chain: Chain, rows: list[NDArray[Any]], columns: list[NDArray[Any]]) -> Chain:
    """Each layer's output channels times its `rows`, and what reads them times its `columns`."""
    layers: list[Layer] = []
    incoming: NDArray[Any] = np.ones(3)
    mask = chain.mask
    for number, (layer, own, outgoing) in enumerate(zip(chain.layers, rows, columns, strict=True)):
        weights = layer.weights.astype(np.float64) * own[:, None, None, None]
        weights = weights * (incoming[:, None, None, None] if layer.depthwise else incoming[None, :, None, None])
        layers.append(replace(layer, weights=weights.astype("f4"), bias=(layer.bias * own).astype("f4")))
        incoming = outgoing
        if mask and number == MASK_AT:
            mask = replace(mask, patch=(mask.patch * incoming[None, :, None, None]).astype("f4"))
    head = (chain.head * incoming[None, :, None, None]).astype("f4")
    return replace(chain, layers=tuple(layers), head=head, mask=mask)
