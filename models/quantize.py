"""Turn the trained network into `face_int8.tflite`: equalise exactly, fit ranges, then TensorFlow's full int8.

    python models/quantize.py CHAIN.npz FOLDER... [--out FILE] [--float FILE]                      (env of conversion)

FOLDERs are prepare.py's: activation ranges are measured on some of their faces that train.py learnt from, half of them
masked; none of a test set.
Input (1, 112, 112, 3) int8 = RGB less 128; outputs (1, 128) int8 embedding, not normalised, and (1, 1) int8 probability
of a mask. PReLU with a slope per channel is written as a x + relu((1 - a) x), which is the same for slopes up to 1 and
which int8 XNNPACK takes whole; x + relu((a - 1) x) is a multiplication less, but a difference of large numbers.
TensorFlow's ranges run from the least to the greatest value seen, so that one outlier coarsens all others. Here each
range is the one that loses least in the mean square, a convolution's after its activation: below zero little is left.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.lite.python.convert import mlir_quantize
from tensorflow.lite.tools import flatbuffer_utils

import chain as chains
from chain import Chain, Layer
from crops import cut, read
from ranges import activated, balanced, fitting

layers = tf.keras.layers

CONV, DEPTHWISE, MUL, PAD = 3, 4, 18, 34
"""TFLite's numbers of operators."""
SEEN = 100_000
"""Values of each layer that ranges are fitted to."""


def sloped(x: Any, slopes: np.ndarray) -> Any:
    """PReLU from operators that int8 XNNPACK has; `chain.tamed` leaves no slope over 1."""
    assert slopes.max() <= 1, slopes.max()
    return x * slopes + tf.nn.relu(x * (1 - slopes))


def convolved(x: Any, layer: Layer) -> Any:
    """One convolution without its activation."""
    kernel = layer.weights.shape[2]
    if layer.stride == 2:
        x = layers.ZeroPadding2D(1)(x)
    shape = {"kernel_size": kernel, "strides": layer.stride, "padding": "valid" if layer.stride == 2 else "same"}
    if layer.depthwise:
        made, arranged = layers.DepthwiseConv2D(**shape), layer.weights.transpose(2, 3, 0, 1)
    else:
        made, arranged = layers.Conv2D(len(layer.weights), **shape), layer.weights.transpose(2, 3, 1, 0)
    y = made(x)
    made.set_weights([arranged, layer.bias])
    return y


def entered(chain: Chain) -> tuple[Layer, ...]:
    """The layers for an input of whole numbers, RGB less 128: int8 rounds nothing there. The first takes the scale."""
    first = chain.layers[0]
    bias = first.bias + first.weights.sum((1, 2, 3)) * (0.5 / 128)
    return (replace(first, weights=first.weights / 128, bias=bias), *chain.layers[1:])


def told(x: Any, mask: chains.Mask) -> Any:
    """The mask's logit (1, 1, 1, 1), from the map it is told from."""
    patch, place = layers.Conv2D(len(mask.patch), 2, 2, activation="relu"), layers.Conv2D(1, 7)
    logit = place(patch(x))
    patch.set_weights([mask.patch.transpose(2, 3, 1, 0), mask.patch_bias])
    place.set_weights([mask.told.transpose(1, 2, 0)[..., None], mask.told_bias.reshape(1)])
    return logit


def rebuilt(chain: Chain) -> tf.keras.Model:
    """The network in Keras."""
    image = tf.keras.Input((112, 112, 3), 1, name="image")
    x = layers.Rescaling(1.0, offset=-128.0)(image)
    for number, layer in enumerate(entered(chain)):
        x = sloped(convolved(x, layer), layer.slopes)
        if number == chains.MASK_AT:
            logit = told(x, chain.mask)
    head = layers.Conv2D(128, 7)
    embedding = layers.Reshape((128,), name="embedding")(head(x))
    head.set_weights([chain.head.transpose(2, 3, 1, 0), chain.head_bias])
    return tf.keras.Model(image, [embedding, layers.Reshape((1,), name="masked")(tf.sigmoid(logit))])


def before(chain: Chain, crops: np.ndarray) -> Iterator[list[np.ndarray]]:
    """Each layer's map before its activation, for some crops at a time."""
    image = tf.keras.Input((112, 112, 3), name="image")
    x, seen = layers.Rescaling(1.0, offset=-128.0)(image), []
    for layer in entered(chain):
        seen.append(convolved(x, layer))
        x = sloped(seen[-1], layer.slopes)
    model = tf.keras.Model(image, seen)
    for start in range(0, len(crops), 10):
        yield [found.numpy() for found in model(crops[start : start + 10].astype(np.float32))]


def reaches(chain: Chain, crops: np.ndarray) -> list[np.ndarray]:
    """How far each layer's channels reach: the largest of their sizes over the crops, after the activation."""
    most = [np.zeros(len(layer.weights)) for layer in chain.layers]
    for maps in before(chain, crops):
        for n, (found, layer) in enumerate(zip(maps, chain.layers, strict=True)):
            most[n] = np.maximum(most[n], np.abs(activated(found, layer.slopes)).max((0, 1, 2)))
    return [np.maximum(m / np.median(m), 1e-3).astype(np.float32) for m in most]


def flat_float(model: tf.keras.Model) -> bytes:
    """TFLite in float32."""
    return bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())


def flat_int8(chain: Chain, crops: np.ndarray) -> bytes:
    """TFLite in int8 throughout."""
    # The input's range must be exactly 0 to 255, so that its scale is exactly 1; painted extremes would widen the
    # first layer's range, which costs more accuracy than any other.
    assert (crops.min(), crops.max()) == (0, 255), "take crops of more contrast"
    shown = crops.astype(np.float32)
    converter = tf.lite.TFLiteConverter.from_keras_model(rebuilt(chain))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([one[None]] for one in shown)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter._experimental_calibrate_only = True
    ranged = flatbuffer_utils.convert_bytearray_to_object(bytearray(converter.convert()))
    refit(ranged, [layer.slopes for layer in chain.layers], sampled(chain, crops))
    flat = bytes(flatbuffer_utils.convert_object_to_bytearray(ranged))
    return bytes(mlir_quantize(flat, input_data_type=tf.int8, output_data_type=tf.int8))


def sampled(chain: Chain, crops: np.ndarray) -> list[np.ndarray]:
    """(n, channels) values of each layer before its activation."""
    rng, found = np.random.default_rng(0), [[] for _ in chain.layers]
    for maps in before(chain, crops):
        for n, one in enumerate(maps):
            flat = one.reshape(-1, one.shape[-1])
            found[n].append(flat[rng.integers(len(flat), size=max(SEEN * len(one) // len(crops) // flat.shape[1], 1))])
    return [np.concatenate(some) for some in found]


def refit(ranged: Any, slopes: list[np.ndarray], values: list[np.ndarray]) -> None:
    """Replace the range of each layer's maps, least to greatest, by the one that int8 loses least with."""
    graph = ranged.subgraphs[0]
    kinds = [(ranged.operatorCodes[op.opcodeIndex].builtinCode, op) for op in graph.operators]
    readers = {
        index: [(kind, op) for kind, op in kinds if index in op.inputs] for _, op in kinds for index in op.outputs
    }
    sloped_maps = [
        op.outputs[0]
        for kind, op in kinds
        if kind in (CONV, DEPTHWISE) and [kind for kind, _ in readers[op.outputs[0]]] == [MUL, MUL]
    ]
    ranges: dict[int, tuple[float, float]] = {}
    for index, a, x in zip(sloped_maps, slopes, values, strict=True):
        ranges[index] = fitting(x, lambda given, a=a: activated(given, a))
        for _, op in readers[index]:
            part = np.maximum(x * (1 - a), 0) if op.builtinOptions.fusedActivationFunction else x * a
            ranges[op.outputs[0]] = fitting(part)
        ((_, total),) = readers[op.outputs[0]]
        ranges[total.outputs[0]] = fitting(activated(x, a))
        ranges |= {op.outputs[0]: ranges[total.outputs[0]] for kind, op in readers[total.outputs[0]] if kind == PAD}
    for index, (least, greatest) in ranges.items():
        graph.tensors[index].quantization.min, graph.tensors[index].quantization.max = [least], [greatest]


def faces(folders: list[Path], wanted: int) -> np.ndarray:
    """(wanted, 112, 112, 3): faces that were learnt from, every other one masked."""
    parts = [read(folder) for folder in folders]
    usable = [(i, n) for i, one in enumerate(parts) for n in np.nonzero(one.counts & ~one.held & one.found[:, 0])[0]]
    picked = np.random.default_rng(0).permutation(usable)[:wanted]
    return np.stack([cut(parts[i].worn[n, 0] if k % 2 else parts[i].bare[n]) for k, (i, n) in enumerate(picked)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chain", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "face_int8.tflite")
    parser.add_argument("--float", type=Path, help="also write the same network in float32 here")
    parser.add_argument("--calibrate", type=int, default=100, help="crops to measure ranges on")
    wanted = parser.parse_args()
    chain, crops = chains.load(wanted.chain), faces(wanted.folders, wanted.calibrate)
    even = chains.equalised(chain, balanced(reaches(chain, crops)))
    if wanted.float:
        wanted.float.write_bytes(flat_float(rebuilt(even)))
    flat = flat_int8(even, crops)
    wanted.out.write_bytes(flat)
    print(f"{wanted.out.name} {len(flat)} B {hashlib.sha256(flat).hexdigest()}")


if __name__ == "__main__":
    main()
