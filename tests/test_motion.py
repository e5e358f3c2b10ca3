"""Motion: a still scene sleeps, a person wakes, light alone does not."""

from __future__ import annotations

import numpy as np

from maskgate import config
from maskgate.motion import Scene, watch

WAKES = config.Camera().motion


def scene(noise: float = 5, seed: int = 0) -> np.ndarray:
    """Return a (480, 640) picture of a textured wall with a camera's noise."""
    wall = np.random.default_rng(99).normal(110, 25, (480, 640))
    return np.clip(wall + np.random.default_rng(seed).normal(0, noise, wall.shape), 0, 255).astype(np.uint8)


def settled() -> Scene:
    """Return the scene after thirty frames."""
    known = None
    for seed in range(30):
        known, _ = watch(known, scene(seed=seed))
    assert known is not None
    return known


def test_the_first_frame_wakes() -> None:
    assert watch(None, scene())[1] >= WAKES


def test_noise_does_not_wake() -> None:
    known = settled()
    assert max(watch(known, scene(noise=8, seed=100 + i))[1] for i in range(20)) < WAKES


def test_a_face_of_forty_pixels_wakes() -> None:
    known, shown = settled(), scene(seed=200)
    shown[200:240, 300:330] = 170
    assert watch(known, shown)[1] >= WAKES


def test_a_cloud_does_not_wake() -> None:
    darker = (scene(seed=201) * 1.0 - 15).clip(0, 255).astype(np.uint8)
    assert watch(settled(), darker)[1] < WAKES


def test_a_parked_car_becomes_scenery() -> None:
    known, shown = settled(), scene(seed=202)
    shown[100:300, 100:400] = 60
    changes = []
    for _ in range(60):
        known, moved = watch(known, shown)
        changes.append(moved)
    assert changes[0] >= WAKES > changes[-1]


def test_a_change_of_the_stream_size_starts_anew() -> None:
    assert watch(settled(), scene()[:240, :320])[1] >= WAKES
