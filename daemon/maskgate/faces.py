"""Find faces, lay out their landmarks, embed them, tell mask from bare and a person from a picture of one.

The only importer of a TFLite runtime.

Networks and what is known about them come from `models/models.toml`; no number about a network stands here but what
belongs to its way of decoding. Reads the model files once, at `load`; draws nothing and decides nothing.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import math
import os
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskgate import align
from maskgate.calibrate import Calibration, Curve
from maskgate.cohort import NEAREST, Cohort
from maskgate.match import Gallery
from maskgate.pixels import Picture
from maskgate.values import Box, Cover, Embedding, Face, Image, Matrix, ModelError, Points, Template, cover_of

Floats = NDArray[np.float32]

RUNTIMES = (("ai_edge_litert.interpreter", "ai-edge-litert"), ("tflite_runtime.interpreter", "tflite-runtime"))
"""Module and distribution, the better first: tflite-runtime 2.14 runs int8 networks without XNNPACK."""
STRIDES = (8, 16, 32)
"""YuNet's three maps: one cell per so many pixels of its input."""
SAME_FACE = 0.3
"""Boxes that overlap by more than this (intersection over union) are one face."""
THOROUGH_SIDES = (256, 640, 1600)
"""Longest side of the picture in a thorough look's passes, pixels; the first finds faces that fill the picture."""
NORMAL_FACE = 112.0
"""Face height at which a thorough look settles the landmarks, pixels."""
DOUBTS_PER_FRAME = 2
"""Doubtful detections that a frame of video gets a closer look at, the best first: each costs milliseconds."""
MOST_USUAL = 0.5
"""No embedder has faces usually nearer than this to the nearest of a cohort: strangers are farther apart."""
MOST_FACES = 40
"""Detections that a thorough look settles, the best first."""
REFINER_RIM = 16.0
"""What the refiner sees around the template, template pixels."""
REFINER_UNIT = 8.0
"""What its offsets are counted in, pixels of its input."""


class Net:
    """One TFLite file, ready to run with uint8-valued images in and float32 arrays out."""

    def __init__(self, path: Path, runtime: Any, threads: int) -> None:
        try:
            with _without_chatter():
                self.interpreter = runtime.Interpreter(model_path=str(path), num_threads=threads)
                self.interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            first = (str(error).splitlines() or ["unknown reason"])[0]
            raise ModelError(f"{path}: cannot run here: {first}") from None
        self._describe()

    def _describe(self) -> None:
        self.input = self.interpreter.get_input_details()[0]
        self.outputs = self.interpreter.get_output_details()

    @property
    def shapes(self) -> list[list[int]]:
        """Shape of the input, then of each output."""
        return [[int(n) for n in tensor["shape"]] for tensor in (self.input, *self.outputs)]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the input, pixels."""
        _, height, width, _ = self.shapes[0]
        return width, height

    def resize(self, size: tuple[int, int]) -> None:
        """Take images of `size` (w, h) from now on; only a fully convolutional network can."""
        if size != self.size:
            self.interpreter.resize_tensor_input(self.input["index"], [1, size[1], size[0], 3])
            self.interpreter.allocate_tensors()
            self._describe()

    def run(self, image: Image | Floats) -> list[Floats]:
        """Run on one (h, w, 3) image of the input's size; return each output without its batch axis."""
        self.interpreter.set_tensor(self.input["index"], self._quantised(image)[None])
        self.interpreter.invoke()
        return [_dequantised(self.interpreter.get_tensor(out["index"])[0], out) for out in self.outputs]

    def _quantised(self, image: Image | Floats) -> NDArray[Any]:
        if self.input["dtype"] is np.float32:
            return image.astype(np.float32)
        # Every int8 network here is made for a scale of 1 and a zero point of -128: flipping the top bit is that.
        flipped: NDArray[np.int8] = (image.astype(np.uint8) ^ 0x80).view(np.int8)
        return flipped

    @property
    def on_xnnpack(self) -> bool:
        """True when XNNPACK took at least a part of the graph."""
        return any(
            "XNNPack" in op["op_name"] or op["op_name"] == "DELEGATE" for op in self.interpreter._get_ops_details()
        )


def _dequantised(values: NDArray[Any], tensor: dict[str, Any]) -> Floats:
    """Return an output as float32, whatever it was."""
    # Widened first: int8 minus its zero point overflows.
    wide = values.astype(np.float32)
    if values.dtype == np.float32:
        return wide
    scale, zero = tensor["quantization"]
    real: Floats = ((wide - zero) * scale).astype(np.float32)
    return real


@dataclass(frozen=True, slots=True)
class Lively:
    """One threshold of the liveness network, with its rates on sources that were not trained on."""

    live: float
    """Least probability of a living face, 0 to 1."""
    bpcer: float
    """Share of visits of living people that it refuses, bare and masked alike."""
    apcer: dict[str, float]
    """By species of attack: share of its visits that pass for a living person."""


@dataclass(frozen=True, slots=True)
class Faces:
    """The networks of `models.toml`, loaded. Not for use by two threads at once."""

    detector: Net
    thorough: Callable[[], Net]
    """The detector once more, for pictures of changing size."""
    refiner: Net
    network: Net
    person: Net
    """Tells a living face from a picture of one."""
    min_score: float
    """Detections from here on are faces."""
    doubt: float
    """Detections from here up to `min_score` are faces if a closer look says so."""
    mask_odds: float
    """What the network's odds of a mask are multiplied by: at even odds then, few bare faces are taken for masked ones,
    and fewer masked ones for bare."""
    runtime: str
    """The runtime, its version, and whether XNNPACK took the embedder, e.g. "ai-edge-litert 2.3.0 (XNNPACK)"."""
    digests: dict[str, str]
    """sha256 by role: detector, refiner, embedder, liveness, cohort."""
    cohort: Cohort
    """Faces of nobody as the embedder sees them, by which scores are set right."""
    calibration: Calibration
    liveness_at: dict[str, Lively]
    """By the words of policy.liveness: from what probability on a face counts as living, and what that was measured
    to let through and to refuse."""

    @property
    def embedder(self) -> str:
        """sha256 of the embedder's file: what a template is stamped with."""
        return self.digests["embedder"]

    def gallery(self, templates: Sequence[Template]) -> Gallery:
        """Return the templates ready to be searched, scores as the thresholds of `calibration` take them."""
        return Gallery(templates, self.calibration.surplus, cohort=self.cohort)

    def find(self, picture: Picture, *, thorough: bool = False) -> list[Face]:
        """Return the faces in `picture`, the largest first, in its pixels.

        A frame of video takes one pass, and a closer look at what is doubtful: masked faces far off score low at
        first. A thorough look, for photos, takes several, so that a face may fill the picture or be a fiftieth of it.
        """
        if thorough:
            return _largest_first(self._find_thoroughly(picture))
        image, scale = picture.fit(self.detector.size)
        # What `fit` moves: the middle of the first pixel.
        shift = (scale - 1) / 2
        found = yunet_faces(self.detector, image, _inverse(scale, shift, shift), self.doubt)
        return _largest_first(self._believed(picture, found, looks=DOUBTS_PER_FRAME))

    def _believed(self, picture: Picture, found: list[Face], *, looks: int) -> list[Face]:
        """Keep the certain ones of `found`, best first, and up to `looks` of the rest that a second look confirms."""
        certain = [face for face in found if face.score >= self.min_score]
        doubtful = found[len(certain) : len(certain) + looks]
        return certain + [again for face in doubtful if (again := self._settled(picture, face)) is not None]

    def _find_thoroughly(self, picture: Picture) -> list[Face]:
        """Look at the padded picture and at enlargements of it, then settle each face at one size.

        What a second look does not confirm is dropped, unless that leaves nothing.
        """
        longest = max(picture.size)
        found = self._pass(picture, THOROUGH_SIDES[0] / longest, room=1.5)
        for below, side in pairwise(THOROUGH_SIDES):
            found += self._pass(picture, side / longest) if longest > below else []
        distinct = _distinct(found)
        settled = [again for face in distinct[:MOST_FACES] if (again := self._settled(picture, face)) is not None]
        return _distinct(settled) or [face for face in distinct if face.score >= self.min_score]

    def _pass(self, picture: Picture, scale: float, *, room: float = 1.0) -> list[Face]:
        """One look at the whole picture, scaled, in the middle of a black frame `room` times as wide."""
        width, height = (_multiple_of_32(side * scale * room) for side in picture.size)
        self.thorough().resize((width, height))
        shift_x, shift_y = (
            (full - side * scale) / 2 + (scale - 1) / 2
            for full, side in zip((width, height), picture.size, strict=True)
        )
        image = picture.sample(np.array([[scale, 0, shift_x], [0, scale, shift_y]]), (width, height))
        return yunet_faces(self.thorough(), image, _inverse(scale, shift_x, shift_y), self.doubt)

    def _settled(self, picture: Picture, face: Face) -> Face | None:
        """Look once more at `face` alone, at the size that landmarks are best at; None when it is no face after all."""
        side = 256
        scale = NORMAL_FACE / max(face.height, 1.0)
        shift_x, shift_y = (side / 2 - middle * scale for middle in face.centre)
        self.thorough().resize((side, side))
        image = picture.sample(np.array([[scale, 0, shift_x], [0, scale, shift_y]]), (side, side))
        again = yunet_faces(self.thorough(), image, _inverse(scale, shift_x, shift_y), self.min_score)
        same = [other for other in again if _overlap(np.array([other.box]), face.box)[0] > SAME_FACE]
        return max(same, key=lambda other: other.score, default=None)

    def refine(self, picture: Picture, face: Face) -> Face:
        """Return `face` with its five landmarks where they lie under a mask too, and `eyes_apart` set.

        The detector's are guesses under a mask. The refiner sees the face laid out by them, and sets them right as long
        as they are off by less than about three tenths of the eyes' distance. It sees the mirror image too, and the
        mean of both is what counts.
        """
        side = self.refiner.size[0]
        places = _places(side)
        there = align.similarity(face.landmarks, places, align.WEIGHTS)
        laid = picture.sample(there, (side, side))
        told, mirrored = (
            places + self.refiner.run(image)[0].reshape(5, 2) * REFINER_UNIT
            for image in (laid, np.ascontiguousarray(laid[:, ::-1]))
        )
        # Right and left change places in a mirror.
        mirrored = np.column_stack([side - 1 - mirrored[:, 0], mirrored[:, 1]])[[1, 0, 2, 4, 3]]
        back = np.linalg.inv(np.vstack([there, (0, 0, 1)]))[:2]
        landmarks = ((told + mirrored) / 2 @ back[:, :2].T + back[:, 2]).astype(np.float32)
        span = max(float(np.hypot(*(face.landmarks[1] - face.landmarks[0]))), 1e-6)
        apart = float(np.hypot(*(landmarks[:2] - face.landmarks[:2]).T).mean()) / span
        return replace(face, landmarks=landmarks, eyes_apart=apart)

    def recognise(self, crop: Image, wide: Callable[[], Image], *, closely: bool = False) -> tuple[Embedding, float]:
        """Return the embedding of an aligned (112, 112, 3) face and the probability, 0 to 1, that it wears a mask.

        A masked face is looked at in the mirror and smaller, too, as `wide` lays it out at the size `align.WIDE`; a
        face looked at `closely`, as for enrolment, so and in the mirror at its own size. The embedding is the mean of
        all looks: nearer to the person, for twice and three times the time. models/MODEL_CARD.md has by how much.
        """
        vector, told = self.network.run(crop)
        embedding, masked = _unit(vector), _weighed(float(told[0]), self.mask_odds)
        others = [crop, wide()] if closely else [wide()] if cover_of(masked) is Cover.MASKED else []
        looks = [_unit(self.network.run(np.ascontiguousarray(other[:, ::-1]))[0]) for other in others]
        return _unit(embedding + np.sum(looks, axis=0)) if looks else embedding, masked

    def liveness(self, picture: Picture, face: Face) -> float:
        """Return the probability, 0 to 1, that `face` of `picture` is a living person's, from one picture alone.

        Judged from the face and from what surrounds it, nearly three times its size: give the larger picture of a
        frame, not a cut-out. models/LIVENESS.md has what it was measured to do.
        """
        side = self.person.size[0]
        views = [picture.region(box, side) for box in align.surroundings(face.box, picture.size)]
        odds = float(self.person.run(np.concatenate(views))[0][0])
        return 1 / (1 + float(np.exp(-odds)))


def _weighed(probability: float, odds: float) -> float:
    """Return the probability whose odds are `odds` times those of `probability`."""
    return probability * odds / (probability * odds + 1 - probability)


def _unit(vector: Floats) -> Embedding:
    """Return the direction of `vector`."""
    return (vector / max(float(np.linalg.norm(vector)), 1e-9)).astype(np.float32)


def load(models: Path, *, threads: int) -> Faces:
    """Load every network that `models`/models.toml names; raise ModelError when one is missing or another."""
    described = _description(models / "models.toml")
    module, runtime = _runtime()
    try:
        nets = {role: _checked(models, described[role], module, threads) for role in _ROLES}
        # On demand: only photos want it, and the daemon is to do without its memory.
        thorough = cache(partial(Net, models / described["detector"]["file"], module, threads))
        cohort = _cohort(models, described["embedder"])
        tables = described["embedder"]["calibration"]
        calibration = Calibration({cover: _curve(tables[cover.value]) for cover in Cover}, _curve(tables["both"]))
        min_score, doubt = (float(described["detector"][name]) for name in ("min_score", "doubt"))
        mask_odds = float(described["embedder"]["mask_odds"])
        if not 0 < mask_odds < math.inf:
            raise ValueError(f"mask_odds = {mask_odds}")
        liveness_at = {word: _lively(told) for word, told in described["liveness"]["at"].items()}
        digests = {role: str(described[role]["sha256"]) for role in _ROLES}
        digests["cohort"] = str(described["embedder"]["cohort"]["sha256"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{models / 'models.toml'}: {error} is missing or wrong; take the file of this release"
        ) from None
    return Faces(
        detector=nets["detector"],
        thorough=thorough,
        refiner=nets["refiner"],
        network=nets["embedder"],
        person=nets["liveness"],
        min_score=min_score,
        doubt=doubt,
        mask_odds=mask_odds,
        runtime=f"{runtime} ({'XNNPACK' if nets['embedder'].on_xnnpack else 'no XNNPACK'})",
        digests=digests,
        cohort=cohort,
        calibration=calibration,
        liveness_at=liveness_at,
    )


def another(path: Path, *, like: Net, threads: int) -> Net:
    """Load a network that is to be measured in the place of `like`; ModelError when it is of another shape."""
    net = Net(path, _runtime()[0], threads)
    if net.shapes != like.shapes:
        raise ModelError(f"{path}: shapes are {net.shapes}, must be {like.shapes}")
    return net


_ROLES = ("detector", "refiner", "embedder", "liveness")


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Keep the runtime's greetings off stderr, where each line of ours means something; its errors are raised."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _description(path: Path) -> dict[str, Any]:
    """Read models.toml."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file; set models.folder to the folder that holds it") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read: {error}") from None


def _runtime() -> tuple[Any, str]:
    """Import the best runtime there is; return its module with its name and version."""
    for module, distribution in RUNTIMES:
        try:
            return importlib.import_module(module), f"{distribution} {importlib.metadata.version(distribution)}"
        except ImportError:
            continue
    raise ModelError("no TFLite runtime is installed: pip install ai-edge-litert (tflite-runtime on 3.11)")


def _checked(folder: Path, described: dict[str, Any], module: Any, threads: int) -> Net:
    """Load one network after its sha256 and before its shapes were compared with models.toml."""
    path = _genuine(folder, described)
    net = Net(path, module, threads)
    if net.shapes != described["shapes"]:
        raise ModelError(f"{path}: shapes are {net.shapes}, must be {described['shapes']}; reinstall the models")
    return net


def _genuine(folder: Path, described: dict[str, Any]) -> Path:
    """Return the path of the file described, once its sha256 was compared with models.toml."""
    path = folder / str(described["file"])
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or error}; reinstall the models") from None
    if found != described["sha256"]:
        must = described["sha256"]
        raise ModelError(f"{path}: sha256 is {found[:16]}..., must be {must[:16]}...; reinstall the models")
    return path


def _cohort(folder: Path, embedder: dict[str, Any]) -> Cohort:
    """Read the faces of nobody, int8 vectors of any length, that were drawn for this embedder."""
    described = embedder["cohort"]
    path, usual = _genuine(folder, described), float(described["usual"])
    try:
        vectors = np.load(path, allow_pickle=False).astype(np.float32)
    except EOFError:
        raise ValueError("cohort") from None
    # Unchecked, `usual` could lift every score over every threshold.
    is_whole = vectors.ndim == 2 and len(vectors) >= NEAREST and [1, vectors.shape[1]] in embedder["shapes"]
    if not is_whole or not vectors.any(1).all() or not 0 < usual < MOST_USUAL:
        raise ValueError("cohort")
    if described["embedder"] != embedder["sha256"]:
        raise ValueError("cohort of this embedder")
    return Cohort(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), usual)


def _curve(described: dict[str, Any]) -> Curve:
    """Read one [embedder.calibration.*] table."""
    fmr, score, fnmr = (tuple(float(v) for v in described[name]) for name in ("fmr", "score", "fnmr"))
    if not len(fmr) == len(score) == len(fnmr) > 1 or any(a <= b for a, b in pairwise(fmr)):
        raise ValueError("calibration")
    return Curve(fmr, score, fnmr, pairs=int(described["pairs"]), people=int(described["people"]))


def _lively(described: dict[str, Any]) -> Lively:
    """Read one [liveness.at.*] table."""
    apcer = {str(species): float(rate) for species, rate in described["apcer"].items()}
    return Lively(float(described["live"]), float(described["bpcer"]), apcer)


def _multiple_of_32(side: float) -> int:
    """Round up to what YuNet's strides divide."""
    return max(int(-(-side // 32) * 32), 64)


def _inverse(scale: float, shift_x: float, shift_y: float) -> Matrix:
    """Return the (2, 3) map from the detector's pixels to the picture's."""
    return np.array([[1 / scale, 0, -shift_x / scale], [0, 1 / scale, -shift_y / scale]])


def yunet_faces(net: Net, image: Image, back: Matrix, min_score: float) -> list[Face]:
    """Run YuNet on (h, w, 3) `image` and return the distinct faces, mapped by `back`, which scales and shifts."""
    maps: dict[tuple[int, int], list[Floats]] = {}
    for out in net.run(image):
        maps.setdefault((out.shape[0], out.shape[2]), []).append(out)
    found: list[Face] = []
    for stride in STRIDES:
        rows = image.shape[0] // stride
        first, second = maps[rows, 1]
        found += _cells(first, second, maps[rows, 4][0], maps[rows, 10][0], stride, min_score)
    return [_mapped(face, back) for face in _distinct(found)]


def _cells(first: Floats, second: Floats, boxes: Floats, points: Floats, stride: int, min_score: float) -> list[Face]:
    """Decode the cells of one of YuNet's maps that score enough, in the detector's pixels.

    Either score may be the class's: only their product counts.
    """
    scores = np.sqrt(np.clip(first * second, 0, 1))[..., 0]
    rows, columns = np.nonzero(scores >= min_score)
    corner = np.stack([columns, rows], axis=1).astype(np.float32)
    box, landmarks = boxes[rows, columns], points[rows, columns].reshape(-1, 5, 2)
    middle = (corner + box[:, :2]) * stride
    half = np.exp(box[:, 2:]) * stride / 2
    edges = np.concatenate([middle - half, middle + half], axis=1)
    marks = (landmarks + corner[:, None]) * stride
    kept = zip(edges, marks, scores[rows, columns], strict=True)
    return [Face((float(e[0]), float(e[1]), float(e[2]), float(e[3])), m, float(s)) for e, m, s in kept]


def _mapped(face: Face, back: Matrix) -> Face:
    """Move a face through a map that only scales and shifts."""
    scale, shift = back[0, 0], back[:, 2]
    left, top, right, bottom = (float(v) for v in np.array(face.box) * scale + np.tile(shift, 2))
    return replace(face, box=(left, top, right, bottom), landmarks=(face.landmarks * scale + shift).astype(np.float32))


def _distinct(faces: list[Face]) -> list[Face]:
    """Drop each face that overlaps a better one."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.score):
        if not kept or _overlap(np.array([other.box for other in kept]), face.box).max() <= SAME_FACE:
            kept.append(face)
    return kept


def _overlap(boxes: NDArray[np.float64], box: Box) -> NDArray[np.float64]:
    """Return the intersection over union of each of `boxes` (n, 4) with `box`."""
    width = np.minimum(boxes[:, 2], box[2]) - np.maximum(boxes[:, 0], box[0])
    height = np.minimum(boxes[:, 3], box[3]) - np.maximum(boxes[:, 1], box[1])
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    both = areas + (box[2] - box[0]) * (box[3] - box[1]) - shared
    share: NDArray[np.float64] = shared / np.maximum(both, 1e-9)
    return share


def _largest_first(faces: list[Face]) -> list[Face]:
    """Sort by area, falling."""
    return sorted(faces, key=lambda face: -face.area)


def _places(side: int) -> Points:
    """(5, 2) where the template's landmarks lie in the refiner's input of `side` pixels."""
    scale = side / (align.SIDE + 2 * REFINER_RIM)
    # Pixel middles: what lies at 0 of the template lies at (scale - 1) / 2 of its enlargement.
    return ((align.TEMPLATE + REFINER_RIM) * scale + (scale - 1) / 2).astype(np.float32)
