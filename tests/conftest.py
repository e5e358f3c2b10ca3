"""What every test may use."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from house import House
from maskgate import config, look
from maskgate.faces import Faces, load
from maskgate.pixels import load_photo
from people import DATA, Enrolled, head

# Run in the background, a shell has interrupts ignored, and every process that a test starts would ignore them too.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A shared machine is slow at moments: no deadline. A failing example prints how to be run again.
settings.register_profile("quick", deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("long", deadline=None, max_examples=20_000)
settings.load_profile(os.environ.get("MASKGATE_HYPOTHESIS", "quick"))


@pytest.fixture(scope="session")
def faces() -> Faces:
    """Load the shipped networks once."""
    return load(config.installed_models(), threads=1)


@pytest.fixture(scope="session")
def enrolled(faces: Faces) -> Enrolled:
    """Return a resident enrolled from one photo, who walks up as in another, and a stranger."""
    bounds = look.bounds_of(config.Quality())

    def photo(name: str) -> look.View:
        return look.portrait(faces, load_photo(DATA / name), bounds, of=name)

    own = photo("Obama/enrol.jpg")
    assert own.probe is not None
    return Enrolled(
        name="Obama",
        templates=[(own.probe, {})],
        model=faces.embedder,
        probe=head(DATA / "Obama/blue_room.jpg", photo("Obama/blue_room.jpg").face.box),
        stranger=head(DATA / "Biden/blue_room.jpg", photo("Biden/blue_room.jpg").face.box),
    )


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Return a house where nobody is enrolled; a file whose houses are others has its own."""
    folder = tmp_path / "house"
    folder.mkdir()
    return House(folder)
