"""Show every window of stage_liveness.py as other cameras would, many times over, for train_liveness.py to draw from.

    PYTHONPATH=daemon:models python models/show_liveness.py FOLDER... [--bare 6] [--masked 4]       (env of the product)

Made once, because several networks are trained on it: one for each fold and the one that is shipped. Written into each
FOLDER: `shown.npy` (n, 192, 96, 3), the views, of which the first of each window is as the gate would see it, and
`shown.json`, the number of each view's window. One seed per view: the same call makes the same pixels.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
from tqdm import tqdm

from views import SIDE, Windows, disturbed, read, seen


@cache
def windows(folder: Path) -> Windows:
    """Once per process."""
    return read(folder)


def shown(job: tuple[Path, int, int]) -> np.ndarray:
    """(many, 2 * SIDE, SIDE, 3) views of one window."""
    folder, number, many = job
    window = windows(folder).window(number)
    rng = np.random.default_rng(number)
    return np.stack([seen(*window, SIDE), *(disturbed(*window, SIDE, rng) for _ in range(many - 1))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--bare", type=int, default=6, help="views of each bare window")
    parser.add_argument("--masked", type=int, default=4, help="views of each with a drawn mask")
    parser.add_argument("--jobs", type=int, default=2)
    wanted = parser.parse_args()
    for folder in wanted.folders:
        jobs = [
            (folder, number, wanted.masked if row["drawn"] else wanted.bare)
            for number, row in enumerate(windows(folder).rows)
        ]
        whose = [number for _, number, many in jobs for _ in range(many)]
        into = np.lib.format.open_memmap(folder / "shown.npy", "w+", np.uint8, (len(whose), 2 * SIDE, SIDE, 3))
        begin = 0
        with ProcessPoolExecutor(wanted.jobs) as pool:
            made = pool.map(shown, jobs, chunksize=20)
            for some in tqdm(made, str(folder), len(jobs), mininterval=10):
                into[begin : begin + len(some)] = some
                begin += len(some)
        (folder / "shown.json").write_text(json.dumps(whose))


if __name__ == "__main__":
    main()
