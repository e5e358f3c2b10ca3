"""Teach SFace's last blocks to embed a masked face where its bare photo lies, and to say whether a mask is worn.

    python models/train.py BASE.npz FEATS OUT.npz [--validate FOLDER...] [--minutes 30] [--resume OUT.pt]

BASE.npz is chain.py's; FEATS holds features.py's folders, looked at afresh each epoch, so that both can run at once.
The first FROZEN layers never change. Loss: 1 - cosine to the teacher's embedding of the same photo *bare*, a
relational term (the student must be as near to each of a bank of bare faces as the teacher is), and the mask's
cross-entropy. A checkpoint and a line of validation every few minutes; people of the validation folders are never
trained on.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

import chain as chains
from chain import Chain

FROZEN = 21
BATCH = 96
TEMPERATURE = 0.08


class Block(nn.Module):
    """One convolution and its PReLU; each tensor is a fixed start plus a step relative to its channel's size."""

    def __init__(self, layer: chains.Layer) -> None:
        super().__init__()
        self.stride, self.depthwise = layer.stride, layer.depthwise
        weights = torch.tensor(layer.weights)
        self.register_buffer("weights", weights)
        self.register_buffer("bias", torch.tensor(layer.bias))
        self.register_buffer("slopes", torch.tensor(layer.slopes))
        self.register_buffer("size", weights.square().mean((1, 2, 3), keepdim=True).sqrt())
        self.step = nn.Parameter(torch.zeros_like(weights))
        self.bias_step = nn.Parameter(torch.zeros(len(weights)))
        self.slope_step = nn.Parameter(torch.zeros(len(weights)))

    def now(self) -> tuple[Tensor, Tensor, Tensor]:
        """Weights, bias and slopes as they stand."""
        bias = self.bias + self.bias_step * self.bias.abs().mean()
        return self.weights + self.step * self.size, bias, (self.slopes + self.slope_step).clamp(-1, 1)

    def forward(self, x: Tensor) -> Tensor:
        weights, bias, slopes = self.now()
        groups = x.shape[1] if self.depthwise else 1
        return functional.prelu(
            functional.conv2d(x, weights, bias, self.stride, weights.shape[2] // 2, 1, groups), slopes
        )


class Student(nn.Module):
    """The layers from FROZEN on, the embedding and the mask's logit."""

    def __init__(self, chain: Chain) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Block(layer) for layer in chain.layers[FROZEN:]))
        head = torch.tensor(chain.head).flatten(1)
        self.register_buffer("head", head)
        self.register_buffer("head_bias", torch.tensor(chain.head_bias))
        self.register_buffer("size", head.square().mean(1, keepdim=True).sqrt())
        self.step = nn.Parameter(torch.zeros_like(head))
        self.bias_step = nn.Parameter(torch.zeros(len(head)))
        self.mask = nn.Linear(chain.mask.size, 1)
        nn.init.zeros_(self.mask.weight)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        x = self.blocks(maps)
        embedding = functional.linear(x.flatten(1), self.head + self.step * self.size, self.head_bias + self.bias_step)
        return functional.normalize(embedding), self.mask(x.mean((2, 3)).detach()).squeeze(1)


def written(student: Student, chain: Chain) -> Chain:
    """The chain with the student's weights."""
    layers = list(chain.layers)
    for number, block in enumerate(student.blocks, FROZEN):
        weights, bias, slopes = (t.detach().numpy().copy() for t in block.now())
        layers[number] = replace(layers[number], weights=weights, bias=bias, slopes=slopes)
    head = (student.head + student.step * student.size).detach().numpy().reshape(chain.head.shape)
    bias = (student.head_bias + student.bias_step).detach().numpy().copy()
    mask = student.mask.weight.detach().numpy()[0].copy()
    return Chain(tuple(layers), head, bias, mask, float(student.mask.bias))


def between(start: Chain, end: Chain, share: float) -> Chain:
    """The weights between two networks: averaging with the start keeps what it knew (WiSE-FT, Wortsman et al. 2022)."""
    layers = tuple(
        replace(b, weights=a.weights + share * (b.weights - a.weights), bias=a.bias + share * (b.bias - a.bias),
                slopes=a.slopes + share * (b.slopes - a.slopes))
        for a, b in zip(start.layers, end.layers, strict=True)
    )  # fmt: skip
    head = start.head + share * (end.head - start.head)
    return replace(end, layers=layers, head=head, head_bias=start.head_bias + share * (end.head_bias - start.head_bias))


class Part:
    """One folder of features.py."""

    def __init__(self, folder: Path) -> None:
        self.maps = np.load(folder / "maps.npy", mmap_mode="r")
        with np.load(folder / "rows.npz") as rows:
            self.photo, self.variant, self.target = rows["photo"], rows["variant"], rows["target"]
        self.known = bool(self.target.any())

    def batch(self, at: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """Maps, targets, and whether a mask is worn."""
        maps = torch.from_numpy(self.maps[at].astype(np.float32)).permute(0, 3, 1, 2)
        return (
            maps,
            torch.from_numpy(self.target[self.photo[at]]),
            torch.from_numpy((self.variant[at] >= 0).astype("f4")),
        )


def parts(folder: Path, held: set[str]) -> list[Part]:
    """Every finished folder but the held-back ones."""
    ready = sorted(p for p in folder.iterdir() if p.is_dir() and p.suffix != ".part")
    return [Part(p) for p in ready if p.name.split("-", 1)[1] not in held]


def epoch(found: list[Part], rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Every instance once, in batches that mix the folders."""
    where = np.concatenate(
        [np.stack([np.full(len(p.photo), i), np.arange(len(p.photo))], 1) for i, p in enumerate(found)]
    )
    rng.shuffle(where)
    for start in range(0, len(where) - BATCH + 1, BATCH):
        rows = where[start : start + BATCH]
        pieces = [found[i].batch(np.sort(rows[rows[:, 0] == i, 1])) for i in np.unique(rows[:, 0])]
        maps, target, worn = (torch.cat(kind) for kind in zip(*pieces, strict=True))
        yield maps.contiguous(memory_format=torch.channels_last), target, worn


def bank(found: list[Part], rng: np.random.Generator, count: int = 4096) -> Tensor:
    """Bare embeddings by the teacher, to be near to or far from."""
    photos = np.concatenate([p.target[np.unique(p.photo)] for p in found if p.known])
    return torch.from_numpy(photos[rng.permutation(len(photos))[:count]])


def loss(
    student: Student, batch: tuple[Tensor, Tensor, Tensor], others: Tensor, relational: float
) -> tuple[Tensor, float]:
    """The loss of a batch, and its mean cosine to the teacher over masked faces."""
    maps, target, worn = batch
    embedding, logit = student(maps)
    known = target.square().sum(1) > 0.5
    cosine = (embedding * target).sum(1)[known]
    wanted = functional.softmax(target[known] @ others.T / TEMPERATURE, 1)
    seen = functional.log_softmax(embedding[known] @ others.T / TEMPERATURE, 1)
    far = functional.kl_div(seen, wanted, reduction="batchmean")
    told = functional.binary_cross_entropy_with_logits(logit, worn)
    total = (1 - cosine).mean() + relational * far + told
    return total, float(cosine[worn[known] > 0.5].mean().detach())


@torch.no_grad()
def validated(student: Student, folders: list[Path]) -> str:
    """True and false matches of bare photos with masked ones, between people who were never trained on.

    Genuine: different photos of the held-back people. Impostors: everyone else's masked photos and bare ones.
    """
    student.eval()
    bare, masked, bare_who, masked_who, logits, truth = [], [], [], [], [], []
    for number, folder in enumerate(folders):
        part = Part(folder)
        people = np.load(folder / "people.npy")
        for start in range(0, len(part.photo), 200):
            at = np.arange(start, min(start + 200, len(part.photo)))
            embedding, logit = student(part.batch(at)[0])
            for row, i in enumerate(at):
                who = number * 100_000 + people[part.photo[i]]
                (bare if part.variant[i] < 0 else masked).append(embedding[row].numpy())
                (bare_who if part.variant[i] < 0 else masked_who).append((who, part.photo[i]))
            logits.append(logit.numpy())
            truth.append(part.variant[at] >= 0)
    student.train()
    line = []
    for name, one, ids in (("masked", masked, masked_who), ("bare", bare, bare_who)):
        scores = np.stack(bare) @ np.stack(one).T
        left, right = np.array(bare_who), np.array(ids)
        same = left[:, None, 0] == right[None, :, 0]
        genuine = np.sort(scores[same & (left[:, None, 1] != right[None, :, 1])])
        impostor = np.sort(scores[~same])
        for far in (1e-3, 1e-4, 1e-5):
            threshold = impostor[int(len(impostor) * (1 - far))]
            line.append(f"{name}@{far:.0e} {(genuine > threshold).mean() * 100:.2f}")
    right = ((np.concatenate(logits) > 0) == np.concatenate(truth)).mean()
    behind = f"({len(genuine)} genuine, {len(impostor)} impostor pairs bare)"
    return f"{' '.join(line)} %; mask told {right * 100:.2f} % {behind}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", type=Path)
    parser.add_argument("feats", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--validate", type=Path, nargs="*", default=[], help="folders of features.py with a people.npy")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=float, default=1e-3, help="of a step relative to a channel's size")
    parser.add_argument("--relational", type=float, default=0.2)
    parser.add_argument("--resume", action="store_true")
    wanted = parser.parse_args()
    torch.manual_seed(7)
    rng = np.random.default_rng(7)
    chain = chains.load(wanted.base)
    student = Student(chain)
    optimizer = torch.optim.AdamW(student.parameters(), wanted.rate, betas=(0.9, 0.99), weight_decay=0.0)
    checkpoint = wanted.out.with_suffix(".pt")
    spent = 0.0
    if wanted.resume and checkpoint.exists():
        state = torch.load(checkpoint)
        student.load_state_dict(state["student"])
        optimizer.load_state_dict(state["optimizer"])
        spent = state["spent"]
    held = {folder.name.split("-", 1)[1] for folder in wanted.validate}
    if wanted.validate:
        print(f"start: {validated(student, wanted.validate)}", flush=True)
    begun = time.monotonic() - spent
    shown, last, means = 0, time.monotonic(), []
    done = False
    while not done:
        found = parts(wanted.feats, held)
        others = bank(found, rng)
        for batch in epoch(found, rng):
            passed = (time.monotonic() - begun) / 60 / wanted.minutes
            done = passed >= 1
            warm = min(1.0, (shown + BATCH) / (100 * BATCH))
            for group in optimizer.param_groups:
                group["lr"] = wanted.rate * warm * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * min(passed, 1.0))))
            total, cosine = loss(student, batch, others, wanted.relational)
            optimizer.zero_grad()
            total.backward()
            nn.utils.clip_grad_norm_(student.parameters(), 5.0)
            optimizer.step()
            shown += len(batch[0])
            means.append((float(total), cosine))
            if done or time.monotonic() - last > 180:
                last = time.monotonic()
                mean = np.mean(means, 0)
                means = []
                told = validated(student, wanted.validate) if wanted.validate else ""
                losses = f"loss {mean[0]:.4f}, masked cosine {mean[1]:.4f}"
                print(f"{passed * wanted.minutes:.1f} min, {shown} faces, {losses}; {told}", flush=True)
                chains.save(wanted.out, written(student, chain))
                state = {"student": student.state_dict(), "optimizer": optimizer.state_dict(), "spent": last - begun}
                torch.save(state, checkpoint)
            if done:
                break
    chains.save(wanted.out, written(student, chain))


if __name__ == "__main__":
    main()
