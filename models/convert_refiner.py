"""Turn the trained refiner into `refiner_int8.tflite`.                                            (env of conversion)

    python models/convert_refiner.py REFINER.npz EYES [--out FILE]

Takes (1, 96, 96, 3) int8, RGB less 128; gives (1, 10) int8: how far the five landmarks lie off the template's places,
x and y in turn, in units of train_refiner.UNIT pixels. Ranges are measured on EYES, stage_eyes.py's faces.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

SIDE, CUT = 96, 16
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


def shown(wide: np.ndarray) -> np.ndarray:
    """(n, 96, 96, 3) float32 of wide crops, laid out rightly, with the range 0 to 255."""
    inner = wide[:, CUT:-CUT, CUT:-CUT]
    faces = np.stack([np.asarray(Image.fromarray(face).resize((SIDE, SIDE))) for face in inner]).astype(np.float32)
    faces[0, 0, :2] = [[0] * 3, [255] * 3]
    return faces


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arrays", type=Path)
    parser.add_argument("eyes", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "refiner_int8.tflite")
    wanted = parser.parse_args()
    wide = np.load(wanted.eyes / "wide.npy", mmap_mode="r")
    faces = shown(np.array([wide[n, n % 3] for n in range(0, len(wide), max(len(wide) // 200, 1))]))
    model = rebuilt(dict(np.load(wanted.arrays)))
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([face[None]] for face in faces)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.float32
    flat = bytes(converter.convert())
    wanted.out.write_bytes(flat)
    print(f"{wanted.out.name} {len(flat)} B {hashlib.sha256(flat).hexdigest()}")


if __name__ == "__main__":
    main()
