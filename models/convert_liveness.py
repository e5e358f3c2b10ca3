"""Turn the trained liveness network into `liveness_f32.tflite`.                                 (env of conversion)

    PYTHONPATH=daemon:models python models/convert_liveness.py LIVENESS.npz [--out FILE]

Takes (1, 192, 96, 3) float32, RGB 0-255: the near view above the wide one; gives (1, 1), the log-odds of a living face.
Float, because what the product reads are means, small beside the responses they are means of: eight bits would round
away what it tells from.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np
import tensorflow as tf

from views import SIDE

HEIGHTS = (0.0, 0.15, 0.5)
"""train_liveness.py's; torch is not installed here."""
STRIDE = 3


def rebuilt(arrays: dict[str, np.ndarray]) -> tf.keras.Model:
    """The network in Keras: `train_liveness.described` and the product."""
    image = tf.keras.Input((2 * SIDE, SIDE, 3), 1, name="views")
    x = (image - 127.5) / 128
    many, _, block, _ = arrays["filters"].shape
    filters = tf.keras.layers.Conv2D(many, block, STRIDE, use_bias=False)
    seen = tf.abs(filters(x))
    filters.set_weights([arrays["filters"].transpose(2, 3, 1, 0)])
    rows = (SIDE - block) // STRIDE + 1
    halves = (seen[:, :rows], seen[:, rows + 1 :])
    numbers = [tf.reduce_mean(tf.nn.relu(half - height), (1, 2)) for half in halves for height in HEIGHTS]
    for sign in (1.0, -1.0):
        near, wide = (tf.reduce_mean(tf.nn.relu(sign * half), (1, 2)) for half in (x[:, :SIDE], x[:, SIDE:]))
        numbers.append(tf.reshape(tf.stack([near, wide], 2), (1, 6)))
    product = tf.keras.layers.Dense(1)
    odds = product(tf.concat(numbers, 1))
    product.set_weights([arrays["told"].astype(np.float32)[:, None], arrays["bias"].astype(np.float32).reshape(1)])
    return tf.keras.Model(image, odds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arrays", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, help="liveness_f32.tflite here; of several arrays, each beside its own")
    wanted = parser.parse_args()
    for path in wanted.arrays:
        out = wanted.out or Path(__file__).parent / "liveness_f32.tflite"
        out = path.with_suffix(".tflite") if len(wanted.arrays) > 1 else out
        arrays = dict(np.load(path))
        flat = bytes(tf.lite.TFLiteConverter.from_keras_model(rebuilt(arrays)).convert())
        out.write_bytes(flat)
        products = arrays["filters"].size * (2 * SIDE // STRIDE - 1) * (SIDE // STRIDE - 1)
        print(f"{out.name} {len(flat)} B {hashlib.sha256(flat).hexdigest()}; {products / 1e6:.1f} M products")


if __name__ == "__main__":
    main()
