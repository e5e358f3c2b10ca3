"""Laws of `maskgate key`: it makes, names and adopts, and shows the key to nobody."""

from __future__ import annotations

import ast
from pathlib import Path

from house import DAEMON, MODEL, House
from test_store_faults import older


def test_a_key_is_made_once_and_shown_by_its_name_alone(tmp_path: Path) -> None:
    house = House(tmp_path)
    key = tmp_path / "gate.key"
    assert house.run("key", "make").out.startswith(f"{key}: made")
    assert key.stat().st_mode & 0o777 == 0o600
    text = key.read_text()
    assert house.run("key", "make").out == f"{key}: unchanged\n"
    assert key.read_text() == text
    house.enrol("Ada")
    shown = house.run("key", "show").out
    assert shown.startswith(f"{key}: ")
    assert len(shown.split(": ")[1].strip()) == 8
    assert text.split()[-1] not in shown
    with house.store() as store:
        assert len(store.templates(MODEL)) == 1


def test_making_the_key_seals_the_gallery_there_is(tmp_path: Path) -> None:
    house = House(tmp_path)
    older(house.gallery, 2)
    assert "older than this maskgate" in house.run("people").failure
    assert house.run("key", "make").code == 0
    assert house.run("people").code == 0
    assert house.run("log", "verify").code == 0


def test_a_gallery_from_nowhere_must_be_adopted_on_purpose(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.run("key", "make")
    older(house.gallery, 2)
    assert "may be a forgery; if it is yours, run `maskgate key adopt`" in house.run("revoke", "Ada").failure
    assert house.run("key", "adopt", stdin="n\n").code == 1
    assert house.run("key", "adopt", "--yes").code == 0
    assert house.run("revoke", "Ada").code == 0


def test_a_missing_key_is_one_line(tmp_path: Path) -> None:
    house = House(tmp_path)
    assert "the gallery's key is missing" in house.run("key", "show").failure


def test_everything_that_opens_the_gallery_names_the_key() -> None:
    """Without one named it lies beside the gallery, which is for tests."""
    for file in (DAEMON / "maskgate").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open_store":
                named = {keyword.arg for keyword in node.keywords}
                assert named & {"key", "keys"} or file.name == "bench.py", f"{file}:{node.lineno}"


def test_rotating_is_told_and_everything_opens_with_the_new_key(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.enrol("Ada")
    before = house.run("key", "show").out
    assert "now " in house.run("key", "rotate").out
    assert house.run("key", "show").out != before
    assert house.run("log", "verify").code == 0
    with house.store() as store:
        assert len(store.templates(MODEL)) == 1
