"""The people of tests/data as the tests of the loop need them: one enrolled, one not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from films import scene
from maskgate import config
from maskgate.store import Store, open_store
from maskgate.values import Embedding

DATA = Path(__file__).parent / "data" / "people"


@dataclass(frozen=True)
class Enrolled:
    """A resident with a template, another photo of the same person, and a stranger."""

    name: str
    templates: list[tuple[Embedding, dict[str, Any]]]
    model: str
    probe: Image.Image
    stranger: Image.Image

    def enrol(self, store: Store) -> None:
        """Enrol the resident."""
        store.enrol(self.name, self.templates, model=self.model, source="photo", actor="test")

    def store(self, settings: config.Settings) -> Store:
        """Open the settings' store with the resident enrolled."""
        store = open_store(Path(settings.store.path), create=True)
        self.enrol(store)
        return store

    def save_scene(self, path: Path, *, shift: int = 0) -> None:
        """Save a still of the resident before the gate."""
        Image.fromarray(scene(self.probe, 400, seed=shift, x=320 + 3 * shift)).save(path)


def head(path: Path, box: tuple[float, float, float, float]) -> Image.Image:
    """Return the part of a photo around the face `box`, with as much again on each side."""
    photo = Image.open(path).convert("RGB")
    left, top, right, bottom = np.array(box) + np.array([-1, -1, 1, 1]) * (box[3] - box[1]) * 0.6
    return photo.crop(
        (max(int(left), 0), max(int(top), 0), min(int(right), photo.width), min(int(bottom), photo.height))
    )
