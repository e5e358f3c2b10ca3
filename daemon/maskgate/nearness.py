"""Who in the gallery is near whom, which templates are unlike their owner's others. Imports numpy; opens nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskgate.cohort import Cohort
from maskgate.values import Cover, Template

ROWS = 256
"""Templates compared with all others at once: 10,000 of them take 10 MB a block."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two subjects, and how near the nearest of their templates are."""

    one: str
    other: str
    score: float
    """As if the one's template were a probe, a masked template lowered as in a search."""


def closest(
    templates: Sequence[Template], surplus: Mapping[Cover, float], cohort: Cohort, *, most: int = 10
) -> list[Pair]:
    """Return the pairs of subjects that are nearest to each other, the nearest first; all templates of one model."""
    found: dict[tuple[str, str], float] = {}
    for scores, first in _blocks(templates, surplus, cohort):
        for row, column in _highest(scores, first, templates, most):
            pair = tuple(sorted((templates[first + row].subject, templates[column].subject)))
            found[pair[0], pair[1]] = max(found.get((pair[0], pair[1]), -1.0), float(scores[row, column]))
        found = dict(sorted(found.items(), key=lambda item: -item[1])[:most])
    return [Pair(one, other, score) for (one, other), score in found.items()]


def _blocks(
    templates: Sequence[Template], surplus: Mapping[Cover, float], cohort: Cohort
) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Yield the scores of a block of templates with all, and the number of its first."""
    matrix = np.array([template.embedding for template in templates], np.float32)
    masked = np.array([template.cover is Cover.MASKED for template in templates])
    lowered = np.array([surplus[template.cover] for template in templates], np.float32)
    excess = cohort.excess(matrix)
    for first in range(0, len(templates), ROWS):
        rows = slice(first, first + ROWS)
        scores = matrix[rows] @ matrix.T
        scores -= excess[rows, None]
        scores -= excess
        if masked.any():
            # Whichever way round scores higher: each is the other's probe once.
            there, back = lowered[rows, None] * masked, masked[rows, None] * lowered
            scores -= np.minimum(there, back)
        yield scores, first


def _highest(
    scores: NDArray[np.float32], first: int, templates: Sequence[Template], most: int
) -> list[tuple[int, int]]:
    """Return row and column of enough of the highest scores between different subjects; spoils the rest of `scores`."""
    number = {name: n for n, name in enumerate(dict.fromkeys(template.subject for template in templates))}
    owners = np.array([number[template.subject] for template in templates])
    scores[owners[first : first + len(scores), None] == owners] = -np.inf
    # A subject of many templates may fill the first places; each pair counts once, so more are looked at.
    wanted = min(most * 16, scores.size)
    flat = np.argpartition(scores.ravel(), scores.size - wanted)[scores.size - wanted :]
    places = [divmod(int(place), scores.shape[1]) for place in flat]
    return [(row, column) for row, column in places if np.isfinite(scores[row, column])]


def likeness(templates: Sequence[Template], cohort: Cohort) -> dict[str, list[float]]:
    """Return for each subject with more than one template, for each of them, the score with the nearest of the others.

    Both in the order of `templates`.
    """
    own: dict[str, list[int]] = {}
    for number, template in enumerate(templates):
        own.setdefault(template.subject, []).append(number)
    matrix = np.array([template.embedding for template in templates], np.float32)
    excess = cohort.excess(matrix)
    found = {}
    for subject, mine in own.items():
        if len(mine) > 1:
            scores = matrix[mine] @ matrix[mine].T - excess[mine, None] - excess[mine]
            np.fill_diagonal(scores, -np.inf)
            found[subject] = [float(score) for score in scores.max(1)]
    return found
