"""Show every photo of stage_liveness.py as other cameras would, many times over, and ask the teachers of each view.

    PYTHONPATH=daemon:models python models/show_liveness.py TEACHERS FOLDER... [--views 10] [--recaptured 0.6]
                                                                                                    (env of training)

Made once, because several networks learn from it: one for each fold and the one that is shipped. Written into each
FOLDER: `shown.npy` (n, 2, 192, 96, 3), the views of the bare window and the same of the one with the drawn mask;
`said.npy` (n, 2), the log-odds of a living face that the two MiniFASNets give of the bare one, for a drawn mask changes
neither who stands there nor what they ought to say; `shown.json`, the number of each view's bare window. The first view
of each is as the gate would see it, of the others `--recaptured` of all are pictures of its picture (recapture.py). One
seed per photo: the same call makes the same pixels.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

import minifasnet
from recapture import recaptured
from views import SIDE, Windows, cropped, elsewhere, finished, read, seen

Job = tuple[Path, int, int, float]


@cache
def windows(folder: Path) -> Windows:
    """Once per process."""
    return read(folder)


def shown(job: Job) -> tuple[np.ndarray, np.ndarray]:
    """(many, 2, 2 * SIDE, SIDE, 3) views of one photo, bare, masked, and (many, 2, 80, 80, 3) the teachers' crops."""
    folder, number, many, share = job
    views, crops = [], []
    for n in range(many):
        shots = [windows(folder).window(number + masked) for masked in (0, 1)]
        seeds = [(number, n, step) for step in range(3)]
        if n and np.random.default_rng((number, n)).random() < share:
            shots = [recaptured(*shot, np.random.default_rng(seeds[0])) for shot in shots]
        if n:
            shots = [elsewhere(*shot, np.random.default_rng(seeds[1])) for shot in shots]
        pictures = [seen(*shot, SIDE) for shot in shots]
        pictures += [cropped(*shots[0], span, minifasnet.SIDE) for span in minifasnet.SPANS.values()]
        if n:
            # The same light and mirror for all four: one seed.
            pictures = [finished(picture, np.random.default_rng(seeds[2])) for picture in pictures]
        views.append(np.stack(pictures[:2]))
        crops.append(np.stack(pictures[2:]))
    return np.stack(views), np.stack(crops)


def teachers(folder: Path) -> list[nn.Module]:
    """The two, made fast."""
    example = torch.zeros(64, 3, minifasnet.SIDE, minifasnet.SIDE).contiguous(memory_format=torch.channels_last)
    nets = [minifasnet.load(folder / name).to(memory_format=torch.channels_last) for name in minifasnet.SPANS]
    with torch.no_grad():
        return [torch.jit.optimize_for_inference(torch.jit.trace(net, example)) for net in nets]


@torch.no_grad()
def asked(nets: list[nn.Module], crops: np.ndarray) -> np.ndarray:
    """(n, 2) log-odds of a living face, by either teacher."""
    told = []
    for which, net in enumerate(nets):
        x = torch.from_numpy(crops[:, which, ..., ::-1].copy()).permute(0, 3, 1, 2).float()
        logits = net(x.contiguous(memory_format=torch.channels_last))
        others = [n for n in range(logits.shape[1]) if n != minifasnet.LIVE]
        told.append((logits[:, minifasnet.LIVE] - logits[:, others].logsumexp(1)).numpy())
    return np.stack(told, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("teachers", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--views", type=int, default=10, help="views of each photo")
    parser.add_argument("--recaptured", type=float, default=0.0, help="share of them that show its picture")
    parser.add_argument("--jobs", type=int, default=1)
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    nets = teachers(wanted.teachers)
    for folder in wanted.folders:
        jobs: list[Job] = [
            (folder, n, wanted.views, wanted.recaptured)
            for n, row in enumerate(windows(folder).rows)
            if not row["drawn"]
        ]
        whose = [number for _, number, many, _ in jobs for _ in range(many)]
        into = np.lib.format.open_memmap(folder / "shown.npy", "w+", np.uint8, (len(whose), 2, 2 * SIDE, SIDE, 3))
        said: list[np.ndarray] = []
        with ProcessPoolExecutor(wanted.jobs) as pool:
            made = pool.map(shown, jobs, chunksize=10)
            for number, (views, crops) in enumerate(tqdm(made, str(folder), len(jobs), mininterval=10)):
                into[number * wanted.views : (number + 1) * wanted.views] = views
                said.append(asked(nets, crops))
        np.save(folder / "said.npy", np.concatenate(said).astype(np.float32))
        (folder / "shown.json").write_text(json.dumps(whose))


if __name__ == "__main__":
    main()
