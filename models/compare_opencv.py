"""Compare one look of the gate with OpenCV's FaceDetectorYN and FaceRecognizerSF: same frame, one thread, one run.

    python models/compare_opencv.py PHOTO YUNET.onnx SFACE.onnx [--rounds 60]

For development only (needs opencv-python-headless). The two ONNX files are the ones that models/convert_*.py start
from; their block-quantised weights are written out as plain float32 first, as OpenCV's own model zoo ships them.
Rounds alternate, so that a busy machine slows both alike; what counts is the ratio of the medians.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import cv2
import numpy as np
import onnx
from onnx import numpy_helper

from onnx_weights import constants

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "daemon"))

from maskgate import config, look
from maskgate.faces import load
from maskgate.pixels import Picture, load_photo
from maskgate.values import Template

TEMPLATES = 1_000


def plain_onnx(path: Path, folder: str) -> str:
    """Write `path` with its block-quantised weights as float32; return the new file's name."""
    model = onnx.load(path)
    const = constants(model.graph)
    nodes = [node for node in model.graph.node if node.op_type != "DequantizeLinear"]
    used = {name for node in nodes for name in node.input} & set(const)
    inputs = [i for i in model.graph.input if i.name not in const and any(i.name in node.input for node in nodes)]
    weights = [numpy_helper.from_array(np.ascontiguousarray(const[name]), name) for name in sorted(used)]
    graph = onnx.helper.make_graph(nodes, "plain", inputs, list(model.graph.output), weights)
    written = Path(folder) / f"{path.stem}.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 11)], ir_version=7), written)
    return str(written)


def scene(photo: Path) -> np.ndarray:
    """Put the photo into a 640 x 480 picture."""
    return load_photo(photo).fit((640, 480))[0]


def theirs(image: np.ndarray, detector: Path, recogniser: Path) -> Callable[[], Any]:
    """Return OpenCV's way from a frame to the best of TEMPLATES."""
    bgr = np.ascontiguousarray(image[..., ::-1])
    with tempfile.TemporaryDirectory() as folder:
        find = cv2.FaceDetectorYN.create(plain_onnx(detector, folder), "", (640, 480))
        know = cv2.FaceRecognizerSF.create(plain_onnx(recogniser, folder), "")
    gallery = gallery_matrix()

    def run() -> Any:
        _, found = find.detect(bgr)
        vector = know.feature(know.alignCrop(bgr, found[0]))[0]
        return int((gallery @ (vector / np.linalg.norm(vector))).argmax())

    return run


def gallery_matrix() -> np.ndarray:
    """Return TEMPLATES random unit vectors."""
    matrix = np.random.default_rng(0).normal(size=(TEMPLATES, 128)).astype(np.float32)
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def ours(image: np.ndarray) -> tuple[Callable[[], Any], look.Stages, str]:
    """Return the gate's way, the stages it fills, and the runtime."""
    faces = load(config.installed_models(), threads=1)
    gallery = faces.gallery([Template(f"p{i}", row, faces.embedder) for i, row in enumerate(gallery_matrix())])
    picture, stages = Picture.from_rgb(image), look.Stages()
    bounds = look.bounds_of(config.Quality())

    def run() -> Any:
        sighting = look.sight(faces, gallery, picture, picture, at_s=0, bounds=bounds, stages=stages)
        assert sighting is not None, "the gate must see the face"
        assert sighting.match is not None, "the gate must embed the face"
        return sighting

    return run, stages, faces.runtime


def timed(run: Callable[[], Any]) -> float:
    """Return the milliseconds of one call."""
    start = perf_counter()
    run()
    return (perf_counter() - start) * 1000


def main() -> None:
    """Print both medians, the stages and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photo", type=Path)
    parser.add_argument("detector", type=Path)
    parser.add_argument("recogniser", type=Path)
    parser.add_argument("--rounds", type=int, default=60)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    image = scene(given.photo)
    gate, stages, runtime = ours(image)
    opencv = theirs(image, given.detector, given.recogniser)
    gate(), opencv()
    stages.ms.clear()
    both = np.array([(timed(gate), timed(opencv)) for _ in range(given.rounds)])
    mine, other = np.median(both, axis=0)
    print("gate stages, mean ms:", {name: round(ms / given.rounds, 2) for name, ms in stages.ms.items()})
    print(f"gate, {runtime}: median {mine:.1f} ms; OpenCV {cv2.__version__}: median {other:.1f} ms; n = {given.rounds}")
    print(
        f"ratio of the medians {mine / other:.2f}; fastest of each {both[:, 0].min():.1f} / {both[:, 1].min():.1f} ms"
    )


if __name__ == "__main__":
    main()
