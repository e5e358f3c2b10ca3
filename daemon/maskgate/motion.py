"""Tell from small pictures whether anything moves. Imports numpy alone; reads no clock or camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK = 32
"""Side of the patches that are averaged, pixels of the small stream."""
STEP = 2
"""Every second pixel of every second row stands for a patch: 256 of 1,024 suffice to average the noise away."""
FOLLOW = 0.1
"""How quickly the remembered scene follows the seen one: a parked car is scenery after some thirty frames."""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What the still scene looks like: mean luma of each patch, float32 (rows, columns)."""

    patches: NDArray[np.float32]


def watch(scene: Scene | None, luma: NDArray[np.uint8]) -> tuple[Scene, float]:
    """Compare `luma` (h, w) with the scene; return the scene as it is now known and the largest change of a patch.

    The change is in luma steps (0 to 255), with the change of the whole picture taken out: a cloud or the exposure
    moves everything at once, a person does not. The first picture counts as a change of 255.
    """
    seen = _patches(luma)
    if scene is None or scene.patches.shape != seen.shape:
        return Scene(seen), 255.0
    change = seen - scene.patches
    moved = float(np.abs(change - np.median(change)).max())
    return Scene(scene.patches + FOLLOW * change), moved


def _patches(luma: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Average `luma` over patches; a rest at the right and lower edge is left out."""
    rows, columns = luma.shape[0] // BLOCK, luma.shape[1] // BLOCK
    thinned = luma[: rows * BLOCK : STEP, : columns * BLOCK : STEP]
    side = BLOCK // STEP
    # Rows first: the uint8 sums then run along memory.
    summed = thinned.reshape(rows, side, columns * side).sum(axis=1, dtype=np.uint32)
    total: NDArray[np.float32] = summed.reshape(rows, columns, side).sum(axis=2, dtype=np.float32)
    return (total / np.float32(side * side)).astype(np.float32)
