"""Laws of the daemon's chores: what is recorded is anchored in the journal in time, and a quiet gate says nothing."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from maskgate.chain import anchors_in
from maskgate.chores import ANCHOR_EVENTS, ANCHOR_S, LOOK_S, Chores
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
