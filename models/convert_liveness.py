"""Turn the trained liveness network into `liveness_int8.tflite`.                                (env of conversion)

    PYTHONPATH=daemon:models python models/convert_liveness.py LIVENESS.npz... SETS [--out FILE]

Takes (1, 192, 96, 3) int8, RGB less 128: the near view above the wide one; gives (1, 1), the log-odds of a living face:
the sum of what the two banks say and what the teachers would say, as PARTS weighs them. The means are kept apart by
height and view until they are told from, for int8 gives each its own steps so. Ranges are measured on SETS,
show_liveness.py's views. Of several arrays, each is written beside its own.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np
import tensorflow as tf

from int8 import converted

HEIGHTS = (0.0, 1.0, 3.0)
EYES = (7, 15), (24, 48)
STRIDE, STRIDES, SIDE = 3, {"near": (2, 2, 1, 2), "wide": (2, 1, 1, 2, 1, 1, 2)}, 96
"""liveness_net.py's; torch is not installed here."""
PARTS = {"whole": 0.5, "eyes": 0.55, "lesson": 0.58}
"""What each part of the answer weighs, either of the teachers' two alike; chosen on the folds."""
SHOWN = 200
"""Views that ranges are measured on."""
layers = tf.keras.layers


def filtered(arrays: dict[str, np.ndarray], name: str, view: tf.Tensor) -> tf.Tensor:
    """What the filters that are not learnt say, either sign by itself."""
    stem = arrays[f"{name}.stem"]
    both = np.concatenate([stem, -stem]).transpose(2, 3, 1, 0) / 128
    # No bias: the filters are blind to a grey that is even.
    filters = layers.Conv2D(2 * len(stem), stem.shape[2], STRIDE, use_bias=False, activation=tf.nn.relu6)
    seen = filters(view)
    filters.set_weights([both])
    return seen


def means(view: tf.Tensor, seen: tf.Tensor) -> list[tf.Tensor]:
    """Of what the filters say, by height, and of the colours, by sign."""
    by_height = [tf.reduce_mean(tf.nn.relu(seen - height) if height else seen, (1, 2)) for height in HEIGHTS]
    light = layers.Rescaling(1 / 128, offset=-127.5 / 128)(view)
    return by_height + [tf.reduce_mean(tf.nn.relu(sign * light), (1, 2)) for sign in (1.0, -1.0)]


def banked(weights: np.ndarray, bias: np.ndarray, given: list[tf.Tensor], peaks: list[float]) -> tf.Tensor:
    """What a bank says of all of its means: one product, for its parts are large and nearly cancel; the means are made
    alike first, so that int8 has one step for all."""
    laid, at = [], 0
    for mean, peak in zip(given, peaks, strict=True):
        # Either sign of a filter counts alike; colours have one.
        many = mean.shape[1] // 2 if mean.shape[1] > 3 else 3
        laid.append(np.tile(weights[:, at : at + many], mean.shape[1] // many) * peak)
        at += many
    assert at == weights.shape[1]
    alike = [mean * (1 / peak) for mean, peak in zip(given, peaks, strict=True)]
    return told(np.concatenate(laid, 1), bias, tf.concat(alike, 1))


def deep(arrays: dict[str, np.ndarray], name: str, seen: tf.Tensor) -> tf.Tensor:
    """What the convolutions see."""
    for n, stride in enumerate(STRIDES[name]):
        weights, bias = arrays[f"{name}.{n}.weights"], arrays[f"{name}.{n}.bias"]
        made = layers.Conv2D(len(weights), 3, stride)
        answer = made(layers.ZeroPadding2D(1)(seen))
        made.set_weights([weights.transpose(2, 3, 1, 0), bias])
        seen = tf.nn.relu6(answer + seen if (stride, seen.shape[3]) == (1, len(weights)) else answer)
    return seen


def told(weights: np.ndarray, bias: np.ndarray, given: tf.Tensor, **how: object) -> tf.Tensor:
    """A product with (k, n) weights."""
    made = layers.Dense(len(weights), **how)
    out = made(given)
    made.set_weights([weights.T, bias])
    return out


def rebuilt(arrays: dict[str, np.ndarray], shown: np.ndarray) -> tf.keras.Model:
    """The network in Keras: `liveness_net.Liveness`, its answers weighed into one."""
    image = tf.keras.Input((2 * SIDE, SIDE, 3), 1, name="views")
    views = {"near": image[:, :SIDE], "wide": image[:, SIDE:]}
    seen = {name: filtered(arrays, name, view) for name, view in views.items()}
    (first, last), (top, bottom) = EYES
    banks = {
        "eyes": means(views["near"][:, top:bottom], seen["near"][:, first:last]),
        "whole": [mean for name, view in views.items() for mean in means(view, seen[name])],
    }
    parts = []
    for name, given in banks.items():
        measured = tf.function(tf.keras.Model(image, given))
        told_of = [measured(tf.constant(view[None])) for view in shown]
        peaks = [float(np.max(of_one)) for of_one in zip(*told_of, strict=True)]
        parts.append(banked(*(PARTS[name] * arrays[f"{name}.{kind}"] for kind in ("weights", "bias")), given, peaks))
    maps = [deep(arrays, name, seen[name]) for name in views]
    sizes = np.cumsum([np.prod(one.shape[1:]) for one in maps])[:-1]
    # torch flattens channels first.
    laid = [
        half.reshape(len(half), c, h, w).transpose(0, 2, 3, 1).reshape(len(half), -1)
        for half, (_, h, w, c) in zip(
            np.split(arrays["join.weights"], sizes, axis=1), (one.shape for one in maps), strict=True
        )
    ]
    joined = tf.concat([layers.Flatten()(one) for one in maps], 1)
    known = told(np.concatenate(laid, 1), arrays["join.bias"], joined, activation=tf.nn.relu6)
    lesson = (PARTS["lesson"] * arrays[f"lesson.{kind}"].sum(0, keepdims=True) for kind in ("weights", "bias"))
    return tf.keras.Model(image, tf.add_n([told(*lesson, known), *parts]))


def products(model: tf.keras.Model) -> float:
    """Millions of multiplications."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, layers.Conv2D):
            total += layer.get_weights()[0].size * layer.output_shape[1] * layer.output_shape[2]
        elif isinstance(layer, layers.Dense):
            total += layer.get_weights()[0].size
    return total / 1e6


def views(sets: Path) -> np.ndarray:
    """(n, 192, 96, 3) float32, bare and masked, spread over all sources; every grey level is in it."""
    every = np.load(sets / "shown.npy", mmap_mode="r")
    some = range(0, len(every), max(len(every) // SHOWN, 1))
    laid = np.stack([every[n, k % 2] for k, n in enumerate(some)]).astype(np.float32)
    laid[0, 0, :2] = [[0] * 3, [255] * 3]
    return laid


def said(flat: bytes, shown: np.ndarray) -> np.ndarray:
    """(n,) log-odds that the int8 network tells of views."""
    net = tf.lite.Interpreter(model_content=flat)
    net.allocate_tensors()
    given, answer = net.get_input_details()[0], net.get_output_details()[0]
    assert given["quantization"] == (1.0, -128), given["quantization"]
    odds = []
    for view in shown:
        net.set_tensor(given["index"], (view[None] - 128).astype(np.int8))
        net.invoke()
        odds.append(net.get_tensor(answer["index"])[0, 0])
    return np.array(odds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arrays", type=Path, nargs="+")
    parser.add_argument("sets", type=Path)
    parser.add_argument("--out", type=Path, help="liveness_int8.tflite here; of several arrays, each beside its own")
    wanted = parser.parse_args()
    shown = views(wanted.sets)
    for path in wanted.arrays:
        out = wanted.out or Path(__file__).parent / "liveness_int8.tflite"
        out = path.with_suffix(".tflite") if len(wanted.arrays) > 1 else out
        arrays = dict(np.load(path))
        model = rebuilt(arrays, shown)
        whole = tf.function(model)
        real = np.concatenate([whole(tf.constant(view[None])).numpy() for view in shown])[:, 0]
        # Rounded means are off all to one side: what they are off by at the mean is taken back.
        off = float((real - said(converted(model, shown), shown)).mean())
        arrays["lesson.bias"] = arrays["lesson.bias"] + off / (PARTS["lesson"] * len(arrays["lesson.bias"]))
        flat = converted(rebuilt(arrays, shown), shown)
        out.write_bytes(flat)
        small = said(flat, shown)
        like = np.corrcoef(real, small)[0, 1]
        print(f"{out.name} {len(flat)} B {hashlib.sha256(flat).hexdigest()}; {products(model):.1f} M products")
        print(
            f"int8 off by {np.abs(real - small).mean():.3f} of {real.std():.2f}, at the mean by"
            f" {(small - real).mean():.3f} ({-off:.3f} before); correlation {like:.4f}, n={len(small)}"
        )


if __name__ == "__main__":
    main()
