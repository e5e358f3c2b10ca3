"""Train the liveness network: what surrounds a face in, the log-odds of a living face out.         (env of training)

    PYTHONPATH=daemon:models python models/train_liveness.py START.pt --alone ALONE [--batches 2400]
    PYTHONPATH=daemon:models python models/train_liveness.py OUT.pt --alone ALONE --start START.pt
                                                       --sets SETS [--without SOURCE...] [--batches 800]

ALONE and SETS are stage_liveness.py's folders with show_liveness.py's views. First, once, the convolutions learn from
ALONE, faces of which nobody says whether they lived, what the two MiniFASNets say of them: it has none of the sources,
so that every fold may start there. Then, for each fold, from SETS as well: what the MiniFASNets say, and what is true.
Live and attack weigh alike, sources weigh alike within each, drawn masks two fifths of each source. Of what `--without`
names nothing is learnt, neither the truth nor what the MiniFASNets say. Written: OUT.pt, weights; OUT.npz, the same
folded for convert_liveness.py; OUT.told.npz, the parts of the answer for what was held back.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from beside import beside
from liveness_net import Liveness, folded, images, measured
from views import read

MASKED = 0.4
FIRST, LATER = 2e-3, 1e-3
"""Rates of learning, from nothing and from START."""
BATCH = 64
HELD = 20
"""Of so many unlabelled faces one is held back."""
LEAST = 4
"""Views of each photo that the bank is fitted on."""
STRETCH, REACH = 4.0, 8.0
"""What the teachers' log-odds are divided by, and where they are cut off before: how sure they are, is noise beyond."""


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """The views of one folder."""

    views: np.ndarray
    """(n, 2, 2 * SIDE, SIDE, 3): bare, masked."""
    said: np.ndarray
    """(n, 2) log-odds, of either teacher."""
    rows: list[dict[str, Any]]
    """What each shows; rows of stage_liveness.py."""
    whose: np.ndarray
    """(n,) number of the bare window each was made of."""
    plain: np.ndarray
    """(n,) as the gate would see it."""


def shown(folder: Path) -> Shown:
    """What show_liveness.py made."""
    rows, whose = read(folder).rows, json.loads((folder / "shown.json").read_text())
    plain = np.diff(whose, prepend=-1) != 0
    views = np.load(folder / "shown.npy", mmap_mode="r")
    return Shown(views, np.load(folder / "said.npy"), [rows[n] for n in whose], np.array(whose), plain)


def weights(rows: list[dict[str, Any]], which: np.ndarray) -> np.ndarray:
    """(n,) how often each view of `which` (n,) is drawn: live as attack, each source alike."""
    share = np.zeros(len(rows))
    keys = np.array([f"{row['live']} {row['source']}" for row in rows])
    live = np.array([row["live"] for row in rows])
    for key in np.unique(keys[which]):
        share[(keys == key) & which] = 1 / ((keys == key) & which).sum()
    for side in (live, ~live):
        share[side] /= max(2 * share[side].sum(), 1e-9)
    return share


def batches(some: Shown, share: np.ndarray, many: int, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, ...]]:
    """Without end: views, what the teachers say, live or not."""
    live, total = np.array([row["live"] for row in some.rows], np.float32), np.cumsum(share)
    while True:
        drawn = np.minimum(np.searchsorted(total, rng.random(many) * total[-1]), len(live) - 1)
        masked = (rng.random(many) < MASKED).astype(int)
        yield np.stack([some.views[n, m] for n, m in zip(drawn, masked, strict=True)]), some.said[drawn], live[drawn]


def both(alone: Iterator[Any], sets: Iterator[Any] | None) -> Iterator[tuple[np.ndarray, ...]]:
    """One batch of each, one after the other; those of `alone` have no label: nan."""
    while True:
        views, said, live = next(alone)
        parts = [(views, said, np.full_like(live, np.nan))] + ([next(sets)] if sets else [])
        yield tuple(np.concatenate(kind) for kind in zip(*parts, strict=True))


def loss(net: Liveness, batch: tuple[np.ndarray, ...]) -> tuple[Tensor, list[float]]:
    """Of all that it is to learn, and each part of it."""
    views, said, live = batch
    _, lesson, label = net(images(views))
    wanted = torch.from_numpy(said).clamp(-REACH, REACH) / STRETCH
    parts = [functional.smooth_l1_loss(lesson, wanted, beta=0.5)]
    known = ~np.isnan(live)
    if known.any():
        truth = torch.from_numpy(live[known]) * 0.9 + 0.05
        parts.append(functional.binary_cross_entropy_with_logits(label[known], truth))
    return parts[0] + (0.3 * parts[1] if len(parts) > 1 else 0), [float(p.detach()) for p in parts]


def learnt(net: Liveness, feed: Iterator[Any], rate: float, many: int, out: Path) -> None:
    """Train for so many batches, and keep the weights every minute."""
    optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], weight_decay=0.02)
    told = time.monotonic()
    means: list[list[float]] = []
    net.train()
    while (passed := len(means) / many) < 1:
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (len(means) + 1) / 60) * 0.5 * (1 + np.cos(np.pi * passed))
        total, parts = loss(net, next(feed))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        means.append(parts)
        if time.monotonic() - told > 60:
            told = time.monotonic()
            recent = ", ".join(f"{p:.4f}" for p in np.mean(means[-100:], 0))
            print(f"{len(means)} batches: {recent}", flush=True)
            torch.save(net.state_dict(), out)
    net.eval()
    torch.save(net.state_dict(), out)


def regressed(net: Liveness, some: Shown, share: np.ndarray, steps: int = 800) -> None:
    """Fit the bank by itself, on the first LEAST views of each photo: in the batches above, statistics waver."""
    since = np.arange(len(some.whose)) - np.maximum.accumulate(np.where(some.plain, np.arange(len(some.whose)), 0))
    which = np.nonzero((since < LEAST) & (share > 0))[0]
    with torch.no_grad():
        parts = np.array_split(which, len(which) // 32 + 1)
        told = torch.cat([net.means(images(some.views[part].reshape(-1, *some.views.shape[2:]))) for part in parts])
        net.even.running_mean.copy_(told.mean(0))
        net.even.running_var.copy_(told.var(0))
        told = net.even(told).reshape(len(which), 2, -1)
    live = torch.tensor([0.95 if some.rows[n]["live"] else 0.05 for n in which])
    total, rng = np.cumsum(share[which]), np.random.default_rng(7)
    nn.init.zeros_(net.bank.weight)
    nn.init.zeros_(net.bank.bias)
    optimizer = torch.optim.AdamW(net.bank.parameters(), 3e-3, weight_decay=0.05)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 3e-3 * 0.5 * (1 + np.cos(np.pi * step / steps))
        drawn = np.minimum(np.searchsorted(total, rng.random(256) * total[-1]), len(which) - 1)
        masked = (rng.random(256) < MASKED).astype(int)
        odds = net.bank(told[drawn, masked])[:, 0]
        optimizer.zero_grad()
        functional.binary_cross_entropy_with_logits(odds, live[drawn]).backward()
        optimizer.step()


@torch.no_grad()
def answers(net: Liveness, some: Shown, which: np.ndarray) -> np.ndarray:
    """(n, 2, 4) of views (n,), bare and masked: the bank's odds, either teacher's as learnt, the label's."""
    told = np.zeros((len(which), 2, 4), np.float32)
    for at in range(0, len(which), 32):
        views = some.views[which[at : at + 32]]
        bank, lesson, label = net(images(views.reshape(-1, *views.shape[2:])))
        told[at : at + 32] = torch.cat([bank[:, None], lesson, label[:, None]], 1).reshape(-1, 2, 4).numpy()
    return told


def equal_error(live: np.ndarray, attack: np.ndarray) -> float:
    """Error where as many live faces are refused as attacks are taken for live."""
    limits = np.sort(np.concatenate([live, attack]))
    refused, taken = (live[None] < limits[:, None]).mean(1), (attack[None] >= limits[:, None]).mean(1)
    at = np.abs(refused - taken).argmin()
    return float((refused[at] + taken[at]) / 2)


def validated(odds: np.ndarray, rows: list[dict[str, Any]]) -> str:
    """Equal error of every source, bare / masked, of (n, 2) odds."""
    keys, live = np.array([row["source"] for row in rows]), np.array([row["live"] for row in rows], bool)
    rates = {
        str(key): [100 * equal_error(odds[(keys == key) & live, m], odds[(keys == key) & ~live, m]) for m in (0, 1)]
        for key in np.unique(keys)
        if ((keys == key) & live).any() and ((keys == key) & ~live).any()
    }
    means = np.mean(list(rates.values()), 0) if rates else [np.nan] * 2
    each = ", ".join(f"{key} {a:.1f} / {b:.1f}" for key, (a, b) in rates.items())
    return f"{means[0]:.1f} / {means[1]:.1f} %: {each}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--alone", type=Path, required=True)
    parser.add_argument("--sets", type=Path)
    parser.add_argument("--start", type=Path)
    parser.add_argument("--without", nargs="*", default=[], metavar="SOURCE")
    parser.add_argument("--batches", type=int, default=800)
    parser.add_argument("--threads", type=int, default=1)
    wanted = parser.parse_args()
    torch.set_num_threads(wanted.threads)
    torch.manual_seed(5)
    alone = shown(wanted.alone)
    net = Liveness()
    if wanted.start:
        net.load_state_dict(torch.load(wanted.start))
    else:
        measured(
            net, np.stack([alone.views[n, 0] for n in range(0, len(alone.views), max(len(alone.views) // 500, 1))])
        )
    net = net.to(memory_format=torch.channels_last)
    ours = alone.whose // 2 % HELD > 0
    unlabelled = batches(alone, ours.astype(float), BATCH // (2 if wanted.sets else 1), np.random.default_rng(5))
    labelled = None
    if wanted.sets:
        sets = shown(wanted.sets)
        kept = np.array([not {row["source"], row["person"]} & set(wanted.without) for row in sets.rows])
        share = weights(sets.rows, kept)
        labelled = batches(sets, share, BATCH, np.random.default_rng(6))
    learnt(net, beside(both(unlabelled, labelled)), LATER if wanted.start else FIRST, wanted.batches, wanted.out)
    if wanted.sets:
        regressed(net, sets, share)
        torch.save(net.state_dict(), wanted.out)
    np.savez(wanted.out.with_suffix(".npz"), **folded(net))
    if not wanted.sets:
        held = np.nonzero(alone.plain & ~ours)[0]
        told, said = answers(net, alone, held)[..., 1:3].sum(2), alone.said[held].clip(-REACH, REACH).sum(1)
        like = ", ".join(f"{np.corrcoef(odds, said)[0, 1]:.3f}" for odds in told.T)
        print(f"correlation with the teachers, {len(held)} faces held back, bare and masked: {like}", flush=True)
    if wanted.without:
        held = np.nonzero(sets.plain & ~kept)[0]
        told = answers(net, sets, held)
        np.savez(wanted.out.with_suffix(".told.npz"), told=told, which=held)
        for name, odds in {"bank": told[..., 0], "lesson": told[..., 1:3].sum(2), "label": told[..., 3]}.items():
            print(f"{name}: held back {validated(odds, [sets.rows[n] for n in held])}", flush=True)


if __name__ == "__main__":
    main()
