"""Turn the trained network into `face_int8.tflite`: equalise exactly, then TensorFlow's full int8, per-channel weights.

    python models/quantize.py CHAIN.npz CROPS.npy [--out FILE] [--float FILE]                     (env of conversion)

CROPS.npy: (n, 112, 112, 3) uint8 aligned faces, bare and masked, to measure activation ranges on; none of a test set.
Input (1, 112, 112, 3) int8 = RGB less 128; outputs (1, 128) int8 embedding, not normalised, and (1, 1) int8 probability
of a mask. A slope per channel, where a layer still has one, is written as x + relu((a - 1) x), which equals PReLU for
slopes up to 1.
"""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

import chain as chains
from chain import Chain, Layer

layers = tf.keras.layers


def sloped(x: Any, slopes: np.ndarray) -> Any:
    """PReLU from operators that int8 XNNPACK has; `chain.tamed` leaves no slope over 1."""
    assert slopes.max() <= 1, slopes.max()
    if (slopes == slopes[0]).all():
        return tf.nn.leaky_relu(x, float(slopes[0])) if slopes[0] else tf.nn.relu(x)
    return x + tf.nn.relu(x * (slopes - 1))


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


def rebuilt(chain: Chain, *, until: int | None = None) -> tf.keras.Model:
    """The network in Keras; with `until`, its activations after so many layers instead of the outputs."""
    image = tf.keras.Input((112, 112, 3), 1, name="image")
    x = layers.Rescaling(1.0, offset=-128.0)(image)
    for layer in entered(chain)[:until]:
        x = sloped(convolved(x, layer), layer.slopes)
    if until is not None:
        return tf.keras.Model(image, x)
    head = layers.Conv2D(128, 7)
    embedding = layers.Reshape((128,), name="embedding")(head(x))
    head.set_weights([chain.head.transpose(2, 3, 1, 0), chain.head_bias])
    # reduce_mean, because XNNPACK leaves an average pool of int8 out
    mask = layers.Conv2D(1, 1)
    logit = mask(tf.reduce_mean(x, (1, 2), keepdims=True))
    mask.set_weights([chain.mask.reshape(1, 1, -1, 1), np.array([chain.mask_bias], np.float32)])
    return tf.keras.Model(image, [embedding, layers.Reshape((1,), name="masked")(tf.sigmoid(logit))])


def reaches(chain: Chain, crops: np.ndarray) -> list[np.ndarray]:
    """How far each layer's channels reach: the largest of their sizes over the crops, after the activation."""
    image = tf.keras.Input((112, 112, 3), name="image")
    x, seen = layers.Rescaling(1.0, offset=-128.0)(image), []
    for layer in entered(chain):
        x = sloped(convolved(x, layer), layer.slopes)
        seen.append(x)
    model, found = tf.keras.Model(image, seen), []
    for start in range(0, len(crops), 20):
        maps = model(crops[start : start + 20].astype(np.float32))
        found.append([np.percentile(np.abs(m.numpy()), 100, axis=(0, 1, 2)) for m in maps])
    most = [np.max([f[n] for f in found], axis=0) for n in range(len(chain.layers))]
    return [np.maximum(m / np.median(m), 1e-3).astype(np.float32) for m in most]


def balanced(chain: Chain, reach: list[np.ndarray]) -> list[np.ndarray]:
    """Even out activations, but spare depthwise weights: they are quantised per channel, so they lose nothing."""
    return [np.asarray(r / np.exp(np.log(r).mean()), np.float32) for r in reach]


def flat_float(model: tf.keras.Model) -> bytes:
    """TFLite in float32."""
    return bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())


def flat_int8(model: tf.keras.Model, crops: np.ndarray) -> bytes:
    """TFLite in int8 throughout."""
    # The input's range must be exactly 0 to 255, so that its scale is exactly 1; painted extremes would widen the
    # first layer's range, which costs more accuracy than any other.
    assert (crops.min(), crops.max()) == (0, 255), "take crops of more contrast"
    shown = crops.astype(np.float32)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([one[None]] for one in shown)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chain", type=Path)
    parser.add_argument("crops", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "face_int8.tflite")
    parser.add_argument("--float", type=Path, help="also write the same network in float32 here")
    parser.add_argument("--calibrate", type=int, default=100, help="crops to measure ranges on")
    wanted = parser.parse_args()
    chain, crops = chains.load(wanted.chain), np.load(wanted.crops)
    crops = crops[np.random.default_rng(0).permutation(len(crops))[: wanted.calibrate]]
    even = chains.equalised(chain, balanced(chain, reaches(chain, crops)))
    model = rebuilt(even)
    if wanted.float:
        wanted.float.write_bytes(flat_float(model))
    flat = flat_int8(model, crops)
    wanted.out.write_bytes(flat)
    print(f"{wanted.out.name} {len(flat)} B {hashlib.sha256(flat).hexdigest()}")


if __name__ == "__main__":
    main()
