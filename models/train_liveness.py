"""Train the liveness network: what surrounds a face in, the log-odds of a living face out.         (env of training)

    PYTHONPATH=daemon:models python models/train_liveness.py OUT.npz FOLDER [--without SOURCE...]

FOLDER is stage_liveness.py's, with show_liveness.py's views. The network: one convolution and one product. The filters
are not learnt: a cosine transform of 6 x 6 blocks in luma, and the coarse part of it in both colour differences, which
see blur, grain, moire, edges and tints. Their responses, of either sign, are rectified at three heights, since a few
strong ones are not many weak ones, and averaged over each view; so are the colours. Only the last product is learnt, by
logistic regression, in seconds: a dozen cameras are too few to learn filters from. Live and attack weigh alike, sources
weigh alike within each, drawn masks two fifths of each source. What `--without` names is not learnt from.
`described.npy`, the numbers of each view, is kept in FOLDER for the next call.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from views import SIDE, read

BLOCK, STRIDE = 6, 3
"""Side of the filters and the step between them, pixels."""
HEIGHTS = (0.0, 0.15, 0.5)
"""Where responses are rectified, in 128 grey levels."""
MASKED = 0.4
BATCH, RATE = 256, 3e-3
ROWS = (SIDE - BLOCK) // STRIDE + 1
"""Rows of responses to one view; one row between the two views sees both and counts for neither."""


def filters() -> np.ndarray:
    """(m, 3, BLOCK, BLOCK): the cosine transform, in luma fine and coarse, in both colour differences coarse."""
    k = np.arange(BLOCK)
    waves = np.cos(np.pi * (k[None] + 0.5) * k[:, None] / BLOCK) * np.sqrt(2 / BLOCK)
    waves[0] /= np.sqrt(2)
    luma, blue, red = np.array([[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]])
    made = []
    for u in range(BLOCK):
        for v in range(BLOCK):
            pattern = np.outer(waves[u], waves[v])
            if 0 < u + v <= BLOCK:
                made.append(luma[:, None, None] * pattern)
            if 0 < u + v <= 2:
                made += [colour[:, None, None] * pattern for colour in (blue, red)]
    return np.stack(made).astype(np.float32)


def images(views: np.ndarray) -> Tensor:
    """(n, 3, 2 * SIDE, SIDE), -1 to 1."""
    x = (torch.from_numpy(np.array(views)).permute(0, 3, 1, 2).float() - 127.5) / 128
    return x.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def described(views: np.ndarray) -> np.ndarray:
    """(n, 2 * heights * m + 12): by view and height the mean of each filter, then of colours over and under grey."""
    bank, rows = torch.from_numpy(filters()), []
    for at in range(0, len(views), 64):
        x = images(views[at : at + 64])
        seen = functional.conv2d(x, bank, stride=STRIDE).abs()
        parts = [(half - height).clamp(min=0) for half in (seen[:, :, :ROWS], seen[:, :, -ROWS:]) for height in HEIGHTS]
        halves = x.unflatten(2, (2, -1))
        means = [part.mean((2, 3)) for part in parts]
        means += [(sign * halves).clamp(min=0).mean((3, 4)).flatten(1) for sign in (1, -1)]
        rows.append(torch.cat(means, 1).numpy())
    return np.concatenate(rows)


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """The views of one folder."""

    every: np.ndarray
    """(m, 2 * SIDE, SIDE, 3), of which `which` (n,) count."""
    which: np.ndarray
    rows: list[dict[str, Any]]
    """What each shows; a row of stage_liveness.py's and whether it is `plain`, as the gate would see it."""


def shown(folder: Path, many: int) -> Shown:
    """The first `many` views of each window that show_liveness.py made."""
    rows, whose = read(folder).rows, np.array(json.loads((folder / "shown.json").read_text()))
    _, first = np.unique(whose, return_index=True)
    which = np.nonzero(np.arange(len(whose)) - first[whose] < many)[0]
    told = [rows[whose[n]] | {"plain": bool(n == first[whose[n]])} for n in which]
    return Shown(np.load(folder / "shown.npy", mmap_mode="r"), which, told)


def weights(rows: list[dict[str, Any]]) -> np.ndarray:
    """(n,) what each view counts: live as attack, each source alike, drawn masks MASKED of a source."""
    share = np.zeros(len(rows))
    keys = np.array([f"{row['live']} {row['source']} {row['drawn'] != ''}" for row in rows])
    for key in np.unique(keys):
        share[keys == key] = (MASKED if key.endswith("True") else 1 - MASKED) / (keys == key).sum()
    live = np.array([row["live"] for row in rows])
    for side in (live, ~live):
        share[side] /= 2 * share[side].sum()
    return share


def fitted(
    known: np.ndarray, live: np.ndarray, share: np.ndarray, *, steps: int, seed: int
) -> tuple[np.ndarray, float]:
    """Weights and bias of the logistic regression on standardised numbers (n, k)."""
    torch.manual_seed(seed)
    rng, total = np.random.default_rng(seed), np.cumsum(share)
    x, y = torch.from_numpy(known), torch.from_numpy(live.astype(np.float32) * 0.9 + 0.05)
    layer = nn.Linear(known.shape[1], 1)
    optimizer = torch.optim.AdamW(layer.parameters(), RATE, weight_decay=0.05)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE * 0.5 * (1 + np.cos(np.pi * step / steps))
        drawn = np.minimum(np.searchsorted(total, rng.random(BATCH) * total[-1]), len(known) - 1)
        wrong = functional.binary_cross_entropy_with_logits(layer(x[drawn])[:, 0], y[drawn])
        optimizer.zero_grad()
        wrong.backward()
        optimizer.step()
    return layer.weight.detach().numpy()[0], float(layer.bias.detach()[0])


def equal_error(live: np.ndarray, attack: np.ndarray) -> float:
    """Error where as many live faces are refused as attacks are taken for live."""
    limits = np.sort(np.concatenate([live, attack]))
    refused, taken = (live[None] < limits[:, None]).mean(1), (attack[None] >= limits[:, None]).mean(1)
    at = np.abs(refused - taken).argmin()
    return float((refused[at] + taken[at]) / 2)


def validated(odds: np.ndarray, rows: list[dict[str, Any]]) -> str:
    """Equal error of every source, bare and masked."""
    keys = np.array([f"{row['source']}{' masked' if row['drawn'] else ''}" for row in rows])
    live = np.array([row["live"] for row in rows], bool)
    rates = {
        str(key): 100 * equal_error(odds[(keys == key) & live], odds[(keys == key) & ~live])
        for key in np.unique(keys)
        if live[keys == key].any() and not live[keys == key].all()
    }
    words = ", ".join(f"{key} {rate:.1f}" for key, rate in rates.items())
    return f"equal error {np.mean(list(rates.values())):.1f} %: {words}" if rates else "nothing held back"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--without", nargs="*", default=[], help="sources, or people as in print/0003")
    parser.add_argument("--views", type=int, default=2, help="views of each window to learn from")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    some = shown(wanted.folder, wanted.views)
    held = np.array([row["source"] in wanted.without or row["person"] in wanted.without for row in some.rows])
    cache = wanted.folder / "described.npy"
    if not cache.exists():
        np.save(cache, described(some.every[some.which]))
    numbers, known = np.load(cache), np.nonzero(~held)[0]
    mean, scale = numbers[known].mean(0), numbers[known].std(0) + 1e-6
    numbers = (numbers - mean) / scale
    rows = [some.rows[n] for n in known]
    live = np.array([row["live"] for row in rows])
    told, bias = fitted(numbers[known], live, weights(rows), steps=wanted.steps, seed=wanted.seed)
    np.savez(wanted.out, filters=filters(), told=told / scale, bias=bias - float((told * mean / scale).sum()))
    examined = [n for n in np.nonzero(held)[0] if some.rows[n]["plain"]]
    odds = numbers[examined] @ told + bias
    print(f"{len(known)} views, {numbers.shape[1]} numbers; {validated(odds, [some.rows[n] for n in examined])}")


if __name__ == "__main__":
    main()
