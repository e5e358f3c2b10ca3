"""What int8 does to a network's maps: ranges that lose least, channels made even. Numpy alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

SHRUNK = np.geomspace(0.08, 1, 20)
"""Shares of the whole range to try, on either side."""


def activated(x: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """PReLU."""
    return np.where(x > 0, x, x * slopes)


def balanced(reach: list[np.ndarray]) -> list[np.ndarray]:
    """Even out activations, but spare depthwise weights: they are quantised per channel, so they lose nothing."""
    return [np.asarray(r / np.exp(np.log(r).mean()), np.float32) for r in reach]


def fitting(values: np.ndarray, then: Callable[[np.ndarray], np.ndarray] = lambda given: given) -> tuple[float, float]:
    """The range around zero whose 256 steps lose least of what is made of `values`, in the mean square."""
    wanted = then(values)
    whole = min(float(values.min()), 0.0), max(float(values.max()), 1e-6)
    best, least = whole, np.inf
    for below in SHRUNK if whole[0] else (1.0,):
        for above in SHRUNK:
            low, high = whole[0] * below, whole[1] * above
            step = (high - low) / 255
            loss = float(np.square(then(np.clip(np.round(values / step) * step, low, high)) - wanted).mean())
            if loss < least:
                best, least = (low, high), loss
    return best
