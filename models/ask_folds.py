"""Ask each fold's network about the sources that it did not learn from, as the gate would.      (env of the product)

    PYTHONPATH=daemon:models python models/ask_folds.py DIR SAID.json OUT.json NET.tflite=SOURCE,SOURCE... ...

SAID.json is what `maskgate evaluate liveness DIR --keep SAID.json` or lay_out_liveness.py wrote, with the face found in
each image; people of a source are named as in print/0003. OUT.json goes into `maskgate evaluate liveness DIR --said`.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

from maskgate.align import TEMPLATE
from maskgate.faces import another, load
from maskgate.pixels import load_photo
from maskgate.values import Face

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("folder", "said", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("nets", nargs="+", metavar="NET.tflite=SOURCE,...")
    wanted = parser.parse_args()
    faces = load(HERE, threads=1)
    said = json.loads(wanted.said.read_text())
    told = {}
    for pair in wanted.nets:
        file, _, sources = pair.partition("=")
        fold = replace(faces, person=another(Path(file), like=faces.person, threads=1))
        for path, one in said.items():
            person = f"{one['species']}/{Path(path).name.split('_')[0]}"
            if one["box"] and {one["species"], person} & set(sources.split(",")):
                face = Face(tuple(one["box"]), TEMPLATE, 1.0)
                told[path] = one | {"live": fold.liveness(load_photo(wanted.folder / path), face)}
    wanted.out.write_text(json.dumps(told))


if __name__ == "__main__":
    main()
