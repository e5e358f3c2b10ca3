"""Builders of plain values for the tests of the core: faces, sightings, people with embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maskgate.decide import Attention, Decision, Policy, step
from maskgate.values import Cover, Embedding, Face, Match, Quality, Sighting

GOOD = Quality(face_px=120, sharpness=0.5, brightness=120, contrast=50, yaw=0, roll=0, eyes=1)
BLURRED = Quality(
    face_px=120, sharpness=0.01, brightness=120, contrast=50, yaw=0, roll=0, eyes=1, faults=("too_blurred",)
)


def person(seed: int, d: int = 128) -> Embedding:
    """Return the embedding of a made-up person; two of them are nearly orthogonal."""
    vector = np.random.default_rng(seed).normal(size=d).astype(np.float32)
    return vector / np.float32(np.linalg.norm(vector))


def near(embedding: Embedding, score: float, seed: int = 0) -> Embedding:
    """Return a unit vector whose cosine to `embedding` is `score`."""
    other = person(seed + 1_000_000, len(embedding))
    other -= (other @ embedding) * embedding
    other /= np.float32(np.linalg.norm(other))
    return (score * embedding + np.sqrt(1 - score * score) * other).astype(np.float32)


def face(x: float = 300, y: float = 200, height: float = 120) -> Face:
    """Return an upright face around (x, y)."""
    width = height * 0.75
    points = np.array([[-0.2, -0.15], [0.2, -0.15], [0, 0.05], [-0.16, 0.22], [0.16, 0.22]]) * height + (x, y)
    return Face((x - width / 2, y - height / 2, x + width / 2, y + height / 2), points.astype(np.float32), 0.9)


def sighting(
    at_s: float,
    match: Match | None = None,
    *,
    x: float = 300,
    height: float = 120,
    quality: Quality = GOOD,
    masked: float = 0.0,
    probe: Embedding | None = None,
    others: int = 0,
    live: float | None = None,
) -> Sighting:
    """Return a usable sighting, unless `quality` says otherwise."""
    seen = person(1) if probe is None and quality.usable else probe
    return Sighting(
        at_s,
        face(x, height=height),
        quality,
        masked,
        probe=seen if quality.usable else None,
        match=match,
        others=others,
        live=live,
    )


def policy(**changes: object) -> Policy:
    """Return a policy with everyday values."""
    values: dict[str, object] = {
        "thresholds": {Cover.BARE: 0.40, Cover.MASKED: 0.45},
        "agree": 2,
        "looks": 12,
        "patience_s": 4.0,
        "margin": 0.05,
        "regrant_s": 10.0,
        "gone_s": 1.0,
        "retry_s": 3.0,
        "backoff_after": 5,
        "backoff_s": 30.0,
        "stale_s": 0.5,
        "one_face": False,
    }
    return Policy(**{**values, **changes})  # type: ignore[arg-type]


def fold(seen: Sequence[tuple[float, Sighting | None]], rules: Policy) -> list[Decision]:
    """Run frames (time, sighting) through `step` and return the decisions."""
    attention, decisions = Attention(), []
    for now_s, shown in seen:
        attention, decision = step(attention, now_s, shown, rules)
        if decision is not None:
            decisions.append(decision)
    return decisions
