"""Read aligned crops, bare and with drawn masks, as made by prepare.py (an .npz) or render.py (a folder)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Crops:
    """Faces of n photos, aligned as the product aligns them."""

    names: NDArray[np.str_]
    """(n,) paths of the photos."""
    bare: NDArray[np.uint8]
    """(n, 112, 112, 3)."""
    worn: NDArray[np.uint8]
    """(n, v, 112, 112, 3) the same faces with v drawn masks, found and aligned afresh; v is 0 where none was drawn."""
    found: NDArray[np.bool_]
    """(n, v) False where the detector lost the masked face; `worn` is black there."""


def read(sources: list[Path], *, variants: int = 9) -> Crops:
    """All the crops of the sources, one after another, with at most `variants` masks per face, as many for each."""
    parts = [_folder(source) if source.is_dir() else _file(source) for source in sources]
    variants = min(variants, *(part.worn.shape[1] for part in parts))
    return Crops(
        np.concatenate([part.names for part in parts]),
        np.concatenate([part.bare for part in parts]),
        np.concatenate([part.worn[:, :variants] for part in parts]),
        np.concatenate([part.found[:, :variants] for part in parts]),
    )


def _file(source: Path) -> Crops:
    """What prepare.py wrote."""
    arrays = np.load(source)
    count = len(arrays["names"])
    if "masked" not in arrays:
        return Crops(
            arrays["names"], arrays["bare"], np.zeros((count, 0, 112, 112, 3), np.uint8), np.zeros((count, 0), bool)
        )
    return Crops(arrays["names"], arrays["bare"], arrays["masked"][:, None], arrays["masked_found"][:, None])


def _folder(source: Path) -> Crops:
    """What render.py wrote: crops with a rim, and black rows where there was no face or rendering was stopped.

    A folder whose rendering was stopped has no index; its photos are then only numbered.
    """
    bare, worn = (np.load(source / f"{name}.npy", mmap_mode="r") for name in ("bare", "worn"))
    kept = np.array([bool(bare[i, 64].any()) for i in range(len(bare))])
    rim = (bare.shape[1] - 112) // 2
    inner = slice(rim, rim + 112)
    names = np.array([f"{source.name}/{i}" for i in range(len(bare))], dtype=object)
    if (source / "index.json").is_file():
        for row in json.loads((source / "index.json").read_text(encoding="utf-8")):
            names[row["at"]] = row["name"]
    masked = np.array(worn[kept][:, :, inner, inner])
    return Crops(
        names[kept].astype(str), np.array(bare[kept][:, inner, inner]), masked, masked[:, :, 56].any(axis=(2, 3))
    )
