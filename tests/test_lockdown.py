"""A lockdown outlives the process, and is not forgotten when it cannot be read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from maskgate import lockdown
from maskgate.values import StoreError


def test_a_lockdown_lasts_from_its_begin_to_its_end(tmp_path: Path) -> None:
    assert not lockdown.is_on(tmp_path)
    for _ in range(2):
        lockdown.begin(tmp_path)
        assert lockdown.is_on(tmp_path)
    for _ in range(2):
        lockdown.end(tmp_path)
        assert not lockdown.is_on(tmp_path)


def test_begin_and_end_survive_a_power_cut_once_they_return(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was locked out must not be let in after one: the folder is synced with the file there, and with it gone."""
    synced: list[tuple[bool, list[str]]] = []
    fsync = os.fsync

    def noted(handle: int) -> None:
        synced.append((os.path.samestat(os.fstat(handle), tmp_path.stat()), os.listdir(tmp_path)))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", noted)
    lockdown.begin(tmp_path)
    lockdown.end(tmp_path)
    assert synced == [(True, ["lockdown"]), (True, [])]


def test_a_lockdown_that_cannot_be_kept_or_ended_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="would not outlive"):
        lockdown.begin(tmp_path / "none")
    (tmp_path / "lockdown").mkdir()
    with pytest.raises(StoreError, match="the lockdown stays"):
        lockdown.end(tmp_path)
    assert lockdown.is_on(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user to be refused")
def test_a_lockdown_that_cannot_be_looked_for_is_on(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    os.seteuid(65_534)
    try:
        assert lockdown.is_on(tmp_path)
    finally:
        os.seteuid(0)
