"""The words of maskgate as frozen values. Imports numpy for types alone; reads no clock, file or pin.

Said once, for every module: images are (h, w, 3) uint8 RGB; points are (x, y) in pixels; boxes are left, top, right,
bottom in pixels; `..._s` is monotonic seconds, `..._at` is wall-clock UTC; an embedding is a float32 unit vector (d,);
a score is a cosine set right by a cohort (`cohort`), higher is nearer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    # Not at run time: `maskgate lock`, which drives the relay inactive after a crash, has no time for it.
    import numpy as np
    from numpy.typing import NDArray

Image: TypeAlias = "NDArray[np.uint8]"
"""(h, w, 3) uint8 RGB, or (h, w) uint8 where the docstring says luma."""
Points: TypeAlias = "NDArray[np.float32]"
"""(n, 2) float32, (x, y) in pixels."""
Embedding: TypeAlias = "NDArray[np.float32]"
"""(d,) float32 of length one."""
Matrix: TypeAlias = "NDArray[np.float64]"
"""(2, 3) float64 affine map of points, or whatever shape the docstring says."""
Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels."""


class MaskgateError(Exception):
    """Something went wrong that one line explains: the thing, the value, the way out."""


def one_line(error: BaseException) -> str:
    """Return what an error says on one line, or at least its name."""
    return " ".join(str(error).split()) or type(error).__name__


class BadSetting(MaskgateError, ValueError):
    """A setting is missing, misspelt, of the wrong type or out of range."""


class BadPhoto(MaskgateError, ValueError):
    """A photo cannot be read, or shows no face that could be enrolled."""


class BadName(MaskgateError, ValueError):
    """A subject's name cannot be used."""


class UnknownSubject(MaskgateError, LookupError):
    """Nobody of that name is enrolled."""


class StoreError(MaskgateError, OSError):
    """The gallery file cannot be opened, read or written."""


class ModelError(MaskgateError, OSError):
    """A model file is missing, is not the one that `models.toml` describes, or cannot run here."""


class CameraError(MaskgateError, OSError):
    """The camera is absent, taken, or has stopped delivering frames."""


class GateError(MaskgateError, OSError):
    """A pin cannot be driven."""


class DaemonError(MaskgateError, ConnectionError):
    """The running daemon cannot be reached, or refused what it was asked."""


class HookError(MaskgateError, OSError):
    """The owner's hooks cannot be run, or the events for them cannot be sent."""


class Cover(Enum):
    """What covers the face: decides which calibration, so which threshold, a score is held against."""

    BARE = "bare"
    MASKED = "masked"


def cover_of(masked: float) -> Cover:
    """Return MASKED when by the probability `masked` a mask is more likely worn than not."""
    return Cover.MASKED if masked >= 0.5 else Cover.BARE


SURE = 0.98
"""Below this probability a mask is doubtful: the network is then asked twice, but a score must reach what is asked for
of bare faces, too, lest a stranger with a hand at the mouth needs less."""


def needed(thresholds: Mapping[Cover, float], masked: float) -> float:
    """Return the score asked for of a face that wears a mask by the probability `masked`."""
    cover = cover_of(masked)
    is_doubtful = cover is Cover.MASKED and masked < SURE
    return max(thresholds.values()) if is_doubtful else thresholds[cover]


@dataclass(frozen=True, slots=True)
class Face:
    """A face as the detector saw it."""

    box: Box
    """left, top, right, bottom in pixels of the picture it was found in; may reach outside it."""
    landmarks: Points
    """(5, 2): right eye, left eye, nose tip, right and left mouth corner; right is the subject's own, so image left."""
    score: float
    """The detector's confidence, 0 to 1."""
    eyes_apart: float = 0.0
    """How far detector and refiner disagree on the eyes, in eye distances; 0 when the detector alone looked."""

    @property
    def height(self) -> float:
        """Box height in pixels."""
        return self.box[3] - self.box[1]

    @property
    def area(self) -> float:
        """Box area in square pixels."""
        return (self.box[2] - self.box[0]) * self.height

    @property
    def centre(self) -> tuple[float, float]:
        """Middle of the box."""
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2


@dataclass(frozen=True, slots=True)
class Quality:
    """How good the picture of a face is. Each number is measured; `faults` says which were not good enough."""

    face_px: float
    """Height of the face box in pixels."""
    sharpness: float
    """Standard deviation of the Laplacian of the aligned face's luma, over its contrast; unitless."""
    brightness: float
    """Mean luma of the aligned face, 0 to 255."""
    contrast: float
    """Standard deviation of the aligned face's luma."""
    yaw: float
    """Turn of the head, -1 (to image left) to 1: how far the nose lies off the middle of the eyes."""
    roll: float
    """Tilt of the line through the eyes, degrees."""
    eyes: float
    """How visible the eyes are, 0 to 1."""
    faults: tuple[str, ...] = ()
    """Names out of `FAULTS`, worst first; empty for a usable face."""

    @property
    def usable(self) -> bool:
        """True when nothing is wrong with the picture."""
        return not self.faults


FAULTS: dict[str, str] = {
    "too_small": "the face is too small: come closer",
    "too_blurred": "the face is blurred: hold still, or clean the lens",
    "too_dark": "the face is too dark: more light",
    "too_bright": "the face is over-exposed: less light, or step out of the sun",
    "too_flat": "the face has too little contrast: more light from the front",
    "turned": "the face is turned away: look into the camera",
    "tilted": "the head is tilted: hold it upright",
    "eyes_hidden": "the eyes cannot be seen: take off dark glasses, lift the brim",
    "cut_off": "the face is cut off by the edge of the picture: step to the middle",
}
"""What can be wrong with a picture of a face, each with the words for the person in front of it."""


@dataclass(frozen=True, slots=True)
class Match:
    """The gallery's answer to one probe."""

    subject: str
    """Name of the best subject."""
    score: float
    """With that subject's nearest template."""
    margin: float
    """Score less the best score of any other subject; 2.0 when there is no other."""
    next: str | None = None
    """Name of the next subject, None when there is no other."""


@dataclass(frozen=True, slots=True, eq=False)
class Backdrop:
    """What the whole picture showed, small and grey: before what a face was seen."""

    luma: NDArray[np.uint8]
    """(h, w), at most 320 wide."""
    scale: float
    """Its pixels per pixel of the picture that the face's box and landmarks are in."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """One frame's evidence about the one face that counts in it."""

    at_s: float
    """When the frame was exposed, monotonic seconds."""
    face: Face
    quality: Quality
    masked: float
    """Probability that a mask is worn, 0 to 1."""
    live: float | None = None
    """Probability that this is a person and no picture of one; None when liveness was not judged."""
    probe: Embedding | None = field(default=None, compare=False)
    """None when the picture was too poor to embed."""
    match: Match | None = None
    """None when there is no probe or nobody is enrolled."""
    backdrop: Backdrop | None = field(default=None, compare=False)
    """None where only the face is known, as of a photo."""
    others: int = 0
    """Further faces in the zone, near enough to count."""
    ms: Mapping[str, float] = field(default_factory=dict, compare=False)
    """Milliseconds that each stage of the look took; empty where nobody measured."""

    @property
    def cover(self) -> Cover:
        """What covers the face."""
        return cover_of(self.masked)

    @property
    def usable(self) -> bool:
        """True when the face may count towards a decision."""
        return self.quality.usable and self.probe is not None


@dataclass(frozen=True, slots=True)
class Template:
    """One enrolled embedding of one subject, and the model that made it."""

    subject: str
    embedding: Embedding
    model: str
    """sha256 of the model file, 64 hex digits."""
    cover: Cover = Cover.BARE
    """What covered the face when it was enrolled."""
