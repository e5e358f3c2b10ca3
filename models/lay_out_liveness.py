"""Lay photos out as `maskgate evaluate liveness` takes them, each once as it is and once with its drawn mask.

    PYTHONPATH=daemon:models python models/lay_out_liveness.py OUT FOLDER [--limit 30]              (env of the product)

FOLDER is stage_liveness.py's. Written: OUT/<source>/{live,attack}/bare/ and .../masked/, the window of each face as it
is and with its drawn mask, as PNG: no second JPEG may tell them apart. Photos out of a folder whose name says "masked"
show really worn masks already, and have one window. Within is a folder for each visit: of a `film` five photos in a
row, by `name` all of one name but for the last number; else each photo is a visit by itself. OUT.json has the face that
the gate's detector found in each, for ask_folds.py and compare_minifasnet.py.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image as Pillow

from views import Windows, read

LOOKS = 5
"""Photos of a film in one visit."""


def visit(path: Path, kind: str, number: int) -> str:
    """The folder of a photo: what was seen in one visit; a photo by itself needs none."""
    if kind == "name":
        return path.stem.rpartition("_")[0]
    return f"{number // LOOKS:03}" if kind == "film" else ""


def chosen(windows: Windows, limit: int | None) -> Iterator[tuple[int, dict[str, Any], str]]:
    """Number, row and visit of each window that is laid out: whole visits, evenly spread, about `limit` of a film."""
    many = Counter((row["source"], row["live"]) for row in windows.rows if not row["drawn"])
    kept: dict[tuple[str, bool], dict[str, bool]] = {}
    seen: Counter[tuple[str, bool]] = Counter()
    for number, row in enumerate(windows.rows):
        folder = row["source"], row["live"]
        path = Path(row["file"])
        # The window with the mask follows the bare one.
        seen[folder] += not row["drawn"]
        within = visit(path, row["kind"], seen[folder] - 1)
        visits = kept.setdefault(folder, {})
        if (within or path.name) not in visits:
            share = min(limit / many[folder], 1.0) if limit and row["kind"] == "film" else 1.0
            visits[within or path.name] = int((len(visits) + 1) * share) > int(len(visits) * share)
        if visits[within or path.name]:
            yield number, row, within


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int, help="about so many photos of each film")
    wanted = parser.parse_args()
    windows = read(wanted.folder)
    found = {}
    for number, row, within in chosen(windows, wanted.limit):
        path = Path(row["file"])
        worn = "masked" in path.parts
        if worn and row["drawn"]:
            continue
        cover = "masked" if worn or row["drawn"] else "bare"
        side = Path(row["source"]) / ("live" if row["live"] else "attack")
        file = side / cover / within / f"{path.stem}.png"
        (wanted.out / file).parent.mkdir(parents=True, exist_ok=True)
        window, box = windows.window(number)
        Pillow.fromarray(window).save(wanted.out / file, compress_level=1)
        found[str(file)] = {"species": row["source"], "cover": cover, "live": None, "error": None, "box": box}
    wanted.out.with_suffix(".json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
