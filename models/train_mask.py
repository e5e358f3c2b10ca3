"""Teach the trained network to say whether a mask is worn: one small branch, after layer `chain.MASK_AT`. Half an hour.

    python models/train_mask.py CHAIN.npz OUT.npz FOLDER... --worn WEB [--test STAFF LFW]             (env of training)

FOLDERs and WEB are prepare.py's. The embedding does not change: the branch alone learns, on maps that are made once.
From bare faces, as many with drawn masks, and WEB, really masked, VIEWS times, each as another camera would show it.
What `Crops.held` holds back and every tenth of WEB are the lines of validation; --test folders are looked at once, at
the end: STAFF all masked, LFW bare and drawn by the other renderer.

A mean over the last map told 97.4 % right: there the network has learnt to look past the mask.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

import chain as chains
from chain import Chain
from crops import Crops, cut, read
from disturb import disturbed
from train import images

PATCHES = 8
VIEWS = 4
EPOCHS = 8
BATCH = 128
RATE = 2e-3
WEIGHT_DECAY = 0.05

Labelled = list[tuple[np.ndarray, bool]]


def lessons(parts: list[Crops], web: Crops, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, bool]]:
    """What is learnt from: (112, 112, 3) faces with whether a mask is worn."""
    for one in parts:
        for n in np.nonzero(one.counts & ~one.held)[0]:
            yield shown(one.bare[n], rng), False
            if one.found[n].any():
                yield shown(one.worn[n, rng.choice(np.nonzero(one.found[n])[0])], rng), True
    for n in np.nonzero(web.number % 10)[0]:
        for _ in range(VIEWS):
            yield shown(web.bare[n], rng), True


def shown(crop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The face as another camera would show it."""
    return disturbed(np.asarray(crop), rng, strong=bool(rng.random() < 0.6))


def tests(folder: Path, one: Crops) -> dict[str, Labelled]:
    """What is held back of a folder, by a name to print."""
    bare = [(cut(one.bare[n]), False) for n in np.nonzero(one.counts & one.held)[0]]
    worn = [(cut(one.worn[n, 0]), True) for n in np.nonzero(one.counts & one.held & one.found[:, 0])[0]]
    return {f"{folder.name} bare": bare, f"{folder.name} drawn": worn}


@torch.no_grad()
def maps(chain: Chain, crops: list[np.ndarray]) -> Tensor:
    """(n, 512, 14, 14) float16 of layer MASK_AT."""
    found = []
    for start in tqdm(range(0, len(crops), 64), mininterval=10):
        x = images(np.stack(crops[start : start + 64]))
        for layer in chain.layers[: chains.MASK_AT + 1]:
            weights, bias, slopes = (torch.from_numpy(a) for a in (layer.weights, layer.bias, layer.slopes))
            groups = x.shape[1] if layer.depthwise else 1
            x = functional.conv2d(x, weights, bias, layer.stride, weights.shape[2] // 2, 1, groups)
            x = functional.prelu(x, slopes)
        found.append(x.half())
    return torch.cat(found)


class Branch(nn.Module):
    """`chain.Mask`, in units of each channel's size."""

    def __init__(self, size: Tensor) -> None:
        super().__init__()
        self.register_buffer("size", size.view(-1, 1, 1))
        self.patch, self.place, self.drop = nn.Conv2d(len(size), PATCHES, 2, 2), nn.Conv2d(PATCHES, 1, 7), nn.Dropout()

    def forward(self, x: Tensor) -> Tensor:
        return self.place(self.drop(functional.relu(self.patch(x.float() / self.size)))).flatten()

    def written(self) -> chains.Mask:
        """The arrays."""
        patch = (self.patch.weight / self.size[None]).detach().numpy()
        bias, place, logit = (t.detach().numpy() for t in (self.patch.bias, self.place.weight[0], self.place.bias[0]))
        return chains.Mask(patch, bias, place, logit)


def fitted(seen: Tensor, worn: Tensor) -> Branch:
    """The branch, learnt."""
    branch = Branch(seen[::20].float().square().mean((0, 2, 3)).sqrt())
    optimizer = torch.optim.AdamW(branch.parameters(), RATE, weight_decay=WEIGHT_DECAY)
    batch = min(BATCH, len(seen))
    steps = EPOCHS * (len(seen) // batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for epoch in range(EPOCHS):
        for at in torch.randperm(len(seen))[: steps // EPOCHS * batch].view(-1, batch):
            loss = functional.binary_cross_entropy_with_logits(branch(seen[at]), worn[at])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1} of {EPOCHS}: loss {float(loss.detach()):.4f}", flush=True)
    return branch.eval()


@torch.no_grad()
def told(branch: Branch, chain: Chain, some: Labelled) -> np.ndarray:
    """Which are told right."""
    seen = maps(chain, [crop for crop, _ in some])
    logits = torch.cat([branch(seen[i : i + BATCH]) for i in range(0, len(seen), BATCH)]).numpy()
    return np.asarray((logits > 0) == np.array([worn for _, worn in some]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chain", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--worn", type=Path, required=True)
    parser.add_argument("--test", type=Path, nargs=2, default=())
    wanted = parser.parse_args()
    torch.manual_seed(1)
    chain, web = chains.load(wanted.chain), read(wanted.worn)
    parts = [read(folder) for folder in wanted.folders]
    learnt = list(lessons(parts, web, np.random.default_rng(3)))
    worn = torch.tensor([worn for _, worn in learnt]).float()
    branch = fitted(maps(chain, [crop for crop, _ in learnt]), worn)
    chains.save(wanted.out, replace(chain, mask=branch.written()))
    checks = {"web, a tenth": [(cut(web.bare[n]), True) for n in np.nonzero(web.number % 10 == 0)[0]]}
    for folder, one in zip(wanted.folders, parts, strict=True):
        checks |= tests(folder, one)
    if wanted.test:
        staff, lfw = (read(folder) for folder in wanted.test)
        checks["staff, really masked"] = [(cut(crop), True) for crop in staff.bare]
        checks["LFW bare"] = [(cut(crop), False) for crop in lfw.bare]
        checks["LFW drawn"] = [(cut(crop), True) for crop in lfw.worn[lfw.found[:, 0], 0]]
    for name, some in checks.items():
        right = told(branch, chain, some)
        print(f"{name}: {right.mean() * 100:.2f} % of {len(right)} told right", flush=True)


if __name__ == "__main__":
    main()
