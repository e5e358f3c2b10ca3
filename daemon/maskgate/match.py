"""Compare a probe with the gallery in two matrix products. Imports numpy alone; opens nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from maskgate.cohort import Cohort
from maskgate.values import Cover, Embedding, Match, Template

NO_OTHER = 2.0
"""Margin when nobody else is enrolled: more than any policy asks for."""


class Gallery:
    """The templates of one model, ready to be searched."""

    def __init__(
        self, templates: Sequence[Template], surplus: Mapping[Cover, float] | None = None, *, cohort: Cohort
    ) -> None:
        """Take templates that one model made, in any order; raise ValueError when models are mixed.

        Thresholds are calibrated for bare templates. A score with a masked template is lowered by `surplus`, what
        strangers score higher there, by the probe's cover (`Calibration.surplus`); it must be given if there are any.
        A threshold means something only with the `cohort` that was calibrated with: `Faces.gallery` has both.
        """
        models = {template.model for template in templates}
        if len(models) > 1:
            raise ValueError(f"templates of {len(models)} models cannot be compared")
        # Sorted by subject, so that a subject's templates are neighbours and one reduceat finds each one's best.
        ordered = sorted(templates, key=lambda template: template.subject)
        self.model = models.pop() if models else None
        self._matrix = np.array([template.embedding for template in ordered], np.float32)
        owners = [template.subject for template in ordered]
        self._cohort = cohort
        self._excess = cohort.excess(self._matrix)
        masked = np.array([template.cover is Cover.MASKED for template in ordered], np.float32)
        self._lowered = {cover: masked * (surplus or {})[cover] for cover in Cover} if masked.any() else {}
        self._starts = [i for i, owner in enumerate(owners) if i == 0 or owner != owners[i - 1]]
        self.subjects = [owners[i] for i in self._starts]

    def __len__(self) -> int:
        """Return the number of templates."""
        return len(self._matrix)

    def search(self, probe: Embedding, cover: Cover) -> Match | None:
        """Return the best subject for `probe`, whose face `cover` covers, or None when nobody is enrolled.

        Of subjects that are equally near, the first by name wins, so that the order of enrolment does not matter; the
        margin is then zero and no policy grants.
        """
        if not self.subjects:
            return None
        products = self._matrix @ probe - self._excess - self._cohort.excess(probe[None])
        if self._lowered:
            products -= self._lowered[cover]
        scores = np.maximum.reduceat(products, self._starts)
        best = int(scores.argmax())
        score = float(scores[best])
        if len(scores) == 1:
            return Match(self.subjects[0], score, NO_OTHER)
        scores[best] = -np.inf
        second = int(scores.argmax())
        return Match(self.subjects[best], score, score - float(scores[second]), self.subjects[second])
