"""Read the aligned faces that prepare.py wrote, with the teacher's vectors where teach.py has been. Numpy, Pillow."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from disturb import RIM, SIDE, WIDE


@dataclass(frozen=True, slots=True, eq=False)
class Crops:
    """The photos of one folder in which a face was found."""

    number: NDArray[np.int_]
    """(n,) of the photo in its folder."""
    names: NDArray[np.str_]
    """(n,) paths of the photos."""
    bare: NDArray[np.uint8]
    """(n, 128, 128, 3), with the rim."""
    worn: NDArray[np.uint8]
    """(n, v, 128, 128, 3) the same faces with v drawn masks, found and aligned afresh."""
    found: NDArray[np.bool_]
    """(n, v) False where the detector lost the masked face; `worn` is black there."""
    teacher: NDArray[np.float32]
    """(n, 128) the teacher's unit vector; zero for photos that do not count: a mask already worn, or a copy."""
    person: NDArray[np.int_]
    """(n,) number of the person where the folder has one folder for each, else -1."""
    made: bool = False
    """Whether these are blend.py's faces of nobody: to learn from alone."""

    @property
    def counts(self) -> NDArray[np.bool_]:
        """(n,) whether the photo is to be used."""
        return self.teacher.any(1)

    @property
    def held(self) -> NDArray[np.bool_]:
        """(n,) what is never trained on: every third person, or every third photo where nobody has a name."""
        if self.made:
            return np.zeros(len(self.number), bool)
        return np.where(self.person >= 0, self.person % 3 == 0, self.number % 3 == 0)


def read(folder: Path) -> Crops:
    """One folder; without a `teacher.npy`, no photo counts."""
    rows = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    at = np.array([row["at"] for row in rows])
    bare, worn = (np.load(folder / f"{name}.npy", mmap_mode="r")[at] for name in ("bare", "worn"))
    found = np.array([[kind != "lost" for kind in row["kinds"]] for row in rows])
    taught = folder / "teacher.npy"
    teacher = np.load(taught)[at] if taught.exists() else np.zeros((len(at), 128), np.float32)
    names = np.array([row["name"] for row in rows])
    _, person = np.unique([Path(name).parent.name for name in names], return_inverse=True)
    person = person if person.max() > 0 else np.full(len(at), -1)
    return Crops(at, names, bare, worn, found, teacher, person, bool(rows[0].get("made", False)))


def cut(crops: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(..., 112, 112, 3): without the rim."""
    return np.ascontiguousarray(crops[..., RIM:-RIM, RIM:-RIM, :])


def wide(crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(112, 112, 3) of a (128, 128, 3) crop: the gate's second look, the face smaller by WIDE.

    From the crop and not from the photo, so a little softer than the gate's own.
    """
    reach = SIDE / WIDE / 2
    box = (SIDE / 2 + RIM - reach,) * 2 + (SIDE / 2 + RIM + reach,) * 2
    look = Pillow.fromarray(crop).transform((SIDE, SIDE), Pillow.Transform.EXTENT, box, Pillow.Resampling.BILINEAR)
    return np.asarray(look)
