"""Turn the trained refiner into `refiner_int8.tflite`.                                          (env of conversion)

    PYTHONPATH=daemon:models python models/convert_refiner.py REFINER.npz EYES [--out FILE]

Takes (1, 96, 96, 3) int8, RGB less 128; gives (1, 10) int8: how far the five landmarks lie off the template's places,
x and y in turn, in units of train_refiner.UNIT pixels. Ranges are measured on EYES, stage_eyes.py's faces.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np
import tensorflow as tf

from int8 import converted
from layouts import SIDE, shown

SHOWN = 400
"""Faces that ranges are measured on."""
layers = tf.keras.layers


def rebuilt(arrays: dict[str, np.ndarray]) -> tf.keras.Model:
    """The network in Keras."""
    image = tf.keras.Input((SIDE, SIDE, 3), 1, name="image")
    x = layers.Rescaling(1 / 128, offset=-127.5 / 128)(image)
    convolutions = sum(f"{n}.weights" in arrays and arrays[f"{n}.weights"].ndim == 4 for n in range(len(arrays)))
    for n in range(convolutions):
        weights, bias = arrays[f"{n}.weights"], arrays[f"{n}.bias"]
        made = layers.Conv2D(len(weights), 3, int(arrays[f"{n}.stride"]), activation="relu")
        x = made(layers.ZeroPadding2D(1)(x))
        made.set_weights([weights.transpose(2, 3, 1, 0), bias])
    _, height, width, channels = x.shape
    x = layers.Flatten()(x)
    for n in (convolutions, convolutions + 1):
        weights, bias = arrays[f"{n}.weights"], arrays[f"{n}.bias"]
        if n == convolutions:  # torch flattens channels first
            weights = weights.reshape(-1, channels, height, width).transpose(0, 2, 3, 1).reshape(len(weights), -1)
        made = layers.Dense(len(weights), activation="relu" if n == convolutions else None)
        x = made(x)
        made.set_weights([weights.T, bias])
    return tf.keras.Model(image, x)


def faces(eyes: Path) -> np.ndarray:
    """(n, 96, 96, 3) float32, laid out as wrongly as in training: what the network says of faces that lie right spans
    a small range only, and int8 would cut off all that are far off."""
    wide, points = np.load(eyes / "wide.npy", mmap_mode="r"), np.load(eyes / "points.npy")
    rng = np.random.default_rng(0)
    some = [
        shown(np.asarray(wide[n, n % 3]), points[n], rng)[0] for n in range(0, len(wide), max(len(wide) // SHOWN, 1))
    ]
    laid = np.stack(some).astype(np.float32)
    laid[0, 0, :2] = [[0] * 3, [255] * 3]
    return laid


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arrays", type=Path)
    parser.add_argument("eyes", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "refiner_int8.tflite")
    wanted = parser.parse_args()
    flat = converted(rebuilt(dict(np.load(wanted.arrays))), faces(wanted.eyes))
    wanted.out.write_bytes(flat)
    print(f"{wanted.out.name} {len(flat)} B {hashlib.sha256(flat).hexdigest()}")


if __name__ == "__main__":
    main()
