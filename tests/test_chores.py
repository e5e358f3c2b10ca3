"""Laws of the daemon's chores: what is recorded is anchored in the journal in time, and a quiet gate says nothing."""

from __future__ import annotations

import io
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from maskgate import config
from maskgate.chain import anchors_in
from maskgate.chores import ANCHOR_EVENTS, ANCHOR_S, LOOK_S, Album, Chores
from maskgate.events import stamp
from maskgate.pixels import Picture
from maskgate.store import Event, open_store


def test_anchors_come_after_an_hour_or_many_events_and_at_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "maskgate")

    def anchored() -> list[int]:
        return [anchor.id for anchor in anchors_in(caplog.text)]

    with open_store(tmp_path / "gallery.db", create=True) as store:
        chores = Chores(store)
        chores.look(0.0)
        assert anchored() == []
        store.record(Event("started"))
        chores.look(LOOK_S)
        assert anchored() == [1]
        store.record(Event("decision"))
        for step in range(1, 59):
            chores.look(LOOK_S * (1 + step))
        assert anchored() == [1]
        chores.look(LOOK_S + ANCHOR_S)
        assert anchored() == [1, 2]
        for _ in range(ANCHOR_EVENTS):
            store.record(Event("decision"))
        chores.look(LOOK_S + ANCHOR_S + 1)
        assert anchored() == [1, 2]
        chores.look(ANCHOR_S + 2 * LOOK_S)
        assert anchored() == [1, 2, 2 + ANCHOR_EVENTS]
        for step in range(3, 200):
            chores.look(ANCHOR_S + step * LOOK_S)
        assert len(anchored()) == 3
        store.record(Event("stopped"))
        chores.end(ANCHOR_S * 9)
        assert anchored()[3:] == [store.last_id()]
        assert list(store.verify(anchors_in(caplog.text))) == []


def test_a_store_that_fails_is_said_and_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with open_store(tmp_path / "gallery.db", create=True) as store:
        store.record(Event("started"))
        (tmp_path / "gate.key").chmod(0o644)
        store._keys._known.clear()
        Chores(store).look(0.0)
    assert "the log cannot be looked after" in caplog.text


def test_old_events_are_removed_by_and_by_and_no_more_than_the_settings_say(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    with open_store(tmp_path / "gallery.db", create=True) as store:
        for days in range(40, 0, -1):
            store.record(Event("decision", at=stamp(now - timedelta(days=days))))
        for keep_days, left in ((0, 40), (60, 40), (30, 29), (7, 6)):
            Chores(store, keep_days=keep_days).look(0.0)
            assert [event.kind for event in store.events()].count("decision") == left
        assert list(store.verify()) == []


@pytest.mark.parametrize(("snapshots", "kept"), [("off", []), ("refused", [2]), ("all", [1, 2])])
def test_pictures_are_kept_of_what_the_owner_wants_and_of_nothing_else(
    tmp_path: Path, snapshots: Literal["off", "refused", "all"], kept: list[int]
) -> None:
    picture = Picture.from_rgb(np.random.default_rng(1).integers(0, 255, (960, 1280, 3), np.uint8))
    with open_store(tmp_path / "gallery.db", create=True) as store:
        album = Album(store, config.Store(snapshots=snapshots))
        for granted in (True, False):
            album.keep(store.record(Event("decision", granted=granted)), picture, granted=granted)
        assert [event_id for event_id in (1, 2) if store.snapshot(event_id)] == kept
        for event_id in kept:
            image = Image.open(io.BytesIO(store.snapshot(event_id) or b""))
            assert (image.format, image.size) == ("JPEG", (320, 240))


def test_a_picture_that_cannot_be_kept_is_said_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with open_store(tmp_path / "gallery.db", create=True) as store:
        event_id = store.record(Event("decision"))
        (tmp_path / "gate.key").unlink()
        store._keys._known.clear()
        picture = Picture.from_rgb(np.zeros((240, 320, 3), np.uint8))
        Album(store, config.Store(snapshots="all")).keep(event_id, picture, granted=True)
    assert "the picture of event 1 cannot be kept" in caplog.text
