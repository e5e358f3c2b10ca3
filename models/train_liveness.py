"""Train the liveness network: what surrounds a face in, the log-odds of a living face out.         (env of training)

    PYTHONPATH=daemon:models python models/train_liveness.py teach START.pt ALONE [--from EARLIER.pt] [--batches 3000]
    PYTHONPATH=daemon:models python models/train_liveness.py fit START.pt SETS OUT.npz [--without SOURCE...]

ALONE and SETS are stage_liveness.py's folders with show_liveness.py's views; those of SETS are shown without
`--recaptured`, or pictures of pictures would be learnt as living. First, once, the convolutions learn from ALONE, faces
of which nobody says whether they lived, what the two MiniFASNets say of them. They never see SETS: taught by those, a
few cameras' rooms and faces, they know the next camera worse. What is true is told from SETS by the two regressions
alone: once without each fold's sources, and once of all. Live and attack weigh alike, sources weigh alike within each,
drawn masks two fifths of each source. Written: START.pt, weights; OUT.npz, the same folded for convert_liveness.py;
OUT.told.npz, the parts of the answer for what was held back.
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
from liveness_net import Bank, Liveness, folded, images, measured
from views import read

MASKED = 0.4
FIRST, LATER = 2e-3, 1e-3
"""Rates of learning, from nothing and from EARLIER."""
BATCH = 64
HELD = 20
"""Of so many unlabelled faces one is held back."""
LEAST = 4
"""Views of each photo that the regressions are fitted on."""
STEPS = 2000
"""Of 256 views each, of a regression."""
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
    rows, whose = read(folder).rows, np.array(json.loads((folder / "shown.json").read_text()))
    views = np.load(folder / "shown.npy", mmap_mode="r")
    return Shown(views, np.load(folder / "said.npy"), [rows[n] for n in whose], whose, np.diff(whose, prepend=-1) != 0)


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


def batches(some: Shown, which: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Without end: views out of `which`, and what the teachers say."""
    while True:
        drawn = which[rng.integers(len(which), size=BATCH)]
        masked = (rng.random(BATCH) < MASKED).astype(int)
        yield np.stack([some.views[n, m] for n, m in zip(drawn, masked, strict=True)]), some.said[drawn]


def taught(net: Liveness, feed: Iterator[tuple[np.ndarray, np.ndarray]], rate: float, many: int, out: Path) -> None:
    """Teach the convolutions for so many batches, and keep the weights every minute."""
    optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], weight_decay=0.02)
    told = time.monotonic()
    losses: list[float] = []
    net.train()
    while (passed := len(losses) / many) < 1:
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (len(losses) + 1) / 60) * 0.5 * (1 + np.cos(np.pi * passed))
        views, said = next(feed)
        wanted = torch.from_numpy(said).clamp(-REACH, REACH) / STRETCH
        loss = functional.smooth_l1_loss(net.taught(*net.responses(images(views))), wanted, beta=0.5)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        if time.monotonic() - told > 60:
            told = time.monotonic()
            print(f"{len(losses)} batches: {np.mean(losses[-100:]):.4f}", flush=True)
            torch.save(net.state_dict(), out)
    net.eval()
    torch.save(net.state_dict(), out)


@torch.no_grad()
def described(net: Liveness, some: Shown, which: np.ndarray) -> list[Tensor]:
    """(n, 2, k) of views (n,), bare and masked: what either bank judges from."""
    means: list[list[Tensor]] = [[], []]
    for part in np.array_split(which, len(which) // 32 + 1):
        x = images(some.views[part].reshape(-1, *some.views.shape[2:]))
        for told, mean in zip(means, net.means(x, *net.responses(x)), strict=True):
            told.append(mean)
    return [torch.cat(told).reshape(len(which), 2, -1) for told in means]


def regressed(bank: Bank, means: Tensor, live: Tensor, share: np.ndarray) -> None:
    """Fit a bank to (n, 2, k) means of views that are drawn by `share` and show somebody alive or not, both (n,)."""
    bank.even.running_mean.copy_(means.mean((0, 1)))
    bank.even.running_var.copy_(means.flatten(0, 1).var(0))
    even = bank.even(means.flatten(0, 1)).reshape(means.shape)
    total, rng = np.cumsum(share), np.random.default_rng(7)
    nn.init.zeros_(bank.odds.weight)
    nn.init.zeros_(bank.odds.bias)
    optimizer = torch.optim.AdamW(bank.parameters(), weight_decay=0.05)
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = 3e-3 * 0.5 * (1 + np.cos(np.pi * step / STEPS))
        drawn = np.minimum(np.searchsorted(total, rng.random(256) * total[-1]), len(share) - 1)
        odds = bank.odds(even[drawn, (rng.random(256) < MASKED).astype(int)])[:, 0]
        optimizer.zero_grad()
        functional.binary_cross_entropy_with_logits(odds, live[drawn] * 0.9 + 0.05).backward()
        optimizer.step()


@torch.no_grad()
def answers(net: Liveness, some: Shown, which: np.ndarray) -> np.ndarray:
    """(n, 2, 4) of views (n,), bare and masked: the banks' odds, either teacher's as learnt."""
    told = np.zeros((len(which), 2, 4), np.float32)
    for at in range(0, len(which), 32):
        views = some.views[which[at : at + 32]]
        whole, eyes, lesson = net(images(views.reshape(-1, *views.shape[2:])))
        told[at : at + 32] = torch.cat([whole[:, None], eyes[:, None], lesson], 1).reshape(-1, 2, 4).numpy()
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


def teach(wanted: argparse.Namespace) -> None:
    """The convolutions, from faces without labels."""
    alone, net = shown(wanted.folder), Liveness()
    if wanted.earlier:
        net.load_state_dict(torch.load(wanted.earlier))
    else:
        measured(
            net, np.stack([alone.views[n, 0] for n in range(0, len(alone.views), max(len(alone.views) // 500, 1))])
        )
    net = net.to(memory_format=torch.channels_last)
    # Every photo has two windows.
    ours = alone.whose // 2 % HELD > 0
    feed = beside(batches(alone, np.nonzero(ours)[0], np.random.default_rng(6 if wanted.earlier else 5)))
    taught(net, feed, LATER if wanted.earlier else FIRST, wanted.batches, wanted.start)
    held = np.nonzero(alone.plain & ~ours)[0]
    told, said = answers(net, alone, held)[..., 2:].sum(2), alone.said[held].clip(-REACH, REACH).sum(1)
    like = ", ".join(f"{np.corrcoef(odds, said)[0, 1]:.3f}" for odds in told.T)
    print(f"correlation with the teachers, {len(held)} faces held back, bare and masked: {like}", flush=True)


def fit(wanted: argparse.Namespace) -> None:
    """The regressions, from photos with labels."""
    sets, net = shown(wanted.folder), Liveness()
    net.load_state_dict(torch.load(wanted.start))
    net.eval()
    kept = np.array([not {row["source"], row["person"]} & set(wanted.without) for row in sets.rows])
    share = weights(sets.rows, kept)
    since = np.arange(len(kept)) - np.maximum.accumulate(np.where(sets.plain, np.arange(len(kept)), 0))
    which = np.nonzero((since < LEAST) & kept)[0]
    live = torch.tensor([float(sets.rows[n]["live"]) for n in which])
    for bank, means in zip((net.whole, net.eyes), described(net, sets, which), strict=True):
        regressed(bank, means, live, share[which])
    np.savez(wanted.out, **folded(net))
    if wanted.without:
        held = np.nonzero(sets.plain & ~kept)[0]
        told = answers(net, sets, held)
        np.savez(wanted.out.with_suffix(".told.npz"), told=told, which=held)
        for name, odds in {"whole": told[..., 0], "eyes": told[..., 1], "lesson": told[..., 2:].sum(2)}.items():
            print(f"{name}: held back {validated(odds, [sets.rows[n] for n in held])}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(required=True)
    first = steps.add_parser("teach", help="the convolutions, from faces without labels")
    first.add_argument("start", type=Path)
    first.add_argument("folder", type=Path, metavar="ALONE")
    first.add_argument("--from", dest="earlier", type=Path, metavar="EARLIER.pt")
    first.add_argument("--batches", type=int, default=3000)
    first.set_defaults(step=teach)
    then = steps.add_parser("fit", help="the regressions, from photos with labels")
    then.add_argument("start", type=Path)
    then.add_argument("folder", type=Path, metavar="SETS")
    then.add_argument("out", type=Path)
    then.add_argument("--without", nargs="*", default=[], metavar="SOURCE")
    then.set_defaults(step=fit)
    for step in (first, then):
        step.add_argument("--threads", type=int, default=1)
    wanted = parser.parse_args()
    torch.set_num_threads(wanted.threads)
    torch.manual_seed(5)
    wanted.step(wanted)


if __name__ == "__main__":
    main()
