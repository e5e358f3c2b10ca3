"""How common a face is, by how near it lies to faces of nobody, and what scores are worth then. Opens nothing.

Some faces lie near many others: people of one origin or age are taken for one another more often than people at large.
A score is therefore lowered by how much nearer probe and template lie to a cohort than faces usually do, and raised
where they lie farther, so that one threshold means more nearly the same for everybody. This is the adaptive score
normalisation of speaker recognition (Sturim & Reynolds, ICASSP 2005; Matejka et al., Interspeech 2017) without the
division by the spread, which was measured to be worse here (models/MODEL_CARD.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

NEAREST = 10
"""Of the cohort, those that count."""
WEIGHT = 0.25
"""How much of the excess nearness of each, probe and template, a score is lowered by."""
ROWS = 256
"""Faces held against the cohort at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Cohort:
    """Faces of nobody."""

    nobody: Floats
    """(n, d) unit vectors, n at least NEAREST; or none, and no score is changed."""
    usual: float
    """The mean cosine with the NEAREST of them that a face usually has."""

    def excess(self, faces: Floats) -> Floats:
        """Return what scores with each of the (n, d) unit vectors are lowered by, (n,); negative for a rare face."""
        found = np.zeros(len(faces), np.float32)
        if len(self.nobody):
            for first in range(0, len(faces), ROWS):
                near = faces[first : first + ROWS] @ self.nobody.T
                near.partition(near.shape[1] - NEAREST, axis=1)
                found[first : first + ROWS] = WEIGHT * (near[:, -NEAREST:].mean(1) - self.usual)
        return found

    def scores(self, templates: Floats, probes: Floats) -> Floats:
        """Return the (n, m) scores of (n, d) templates with (m, d) probes, unit vectors all.

        Cosines, less what both lie nearer to the cohort than is usual.
        """
        scores = templates @ probes.T
        scores -= self.excess(templates)[:, None]
        scores -= self.excess(probes)
        return np.asarray(scores, np.float32)


NOBODY = Cohort(np.zeros((0, 0), np.float32), 0.0)
"""No cohort: scores are cosines."""
