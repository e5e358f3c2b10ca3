"""A share of the laws under power cuts; `make prove` tries thousands."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

import disk
import laws_power
from disk import Disk, Op
from maskgate import schema

pytestmark = pytest.mark.skipif(disk.library() is None, reason="this Python has SQLite built in, out of reach")


@pytest.mark.parametrize(
    ("make", "number"), [(laws_power.everyday, 120), (laws_power.migrating, 30), (laws_power.restoring, 30)]
)
def test_no_power_cut_loses_an_acknowledged_event_or_damages_the_gallery(
    make: Callable[[int], laws_power.Life], number: int
) -> None:
    assert laws_power.lives(make, number, number) == number


def test_without_syncing_the_same_cuts_lose_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the disk would not be as bad as it should be."""
    monkeypatch.setattr(schema, "SYNCHRONOUS", "OFF")
    with pytest.raises(AssertionError, match=r"are lost|StoreError"):
        laws_power.lives(laws_power.everyday, 60, 60)


def test_the_disk_keeps_what_was_synced_and_of_the_rest_what_it_likes() -> None:
    whole = Disk({"f": b"a" * 2048})
    for op in (Op("write", "f", 0, b"b" * 600), Op("write", "f", 512, b"c" * 2048), Op("truncate", "f", 2200)):
        whole.apply(op)
    seen = {whole.after_a_cut(random.Random(seed))["f"] for seed in range(500)}
    assert {len(data) for data in seen} == {2048, 2560, 2200}
    assert {data[:512] for data in seen} == {b"a" * 512, b"b" * 512}
    assert {data[512:1024] for data in seen} == {b"a" * 512, b"b" * 88 + b"a" * 424, b"c" * 512}
    whole.apply(Op("sync", "f"))
    assert {whole.after_a_cut(random.Random(seed))["f"] for seed in range(50)} == {b"b" * 512 + b"c" * 1688}
