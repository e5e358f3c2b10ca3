"""Teach the network to embed a masked face where SFace puts the same photo *bare*.

    python models/train.py START.npz OUT.npz FOLDER... [--minutes 50] [--resume]   (env of training)

START.npz is convert_sface.py's `sface.npz`, slopes and all. FOLDERs are prepare.py's with a `teacher.npy` of teach.py.
A third of the photos, and every third person of those with names, are held back: for the lines of validation printed on
the way, and for calibrate.py afterwards. The first FROZEN layers keep their weights: they cost most of the backward
pass.

Loss: 1 - cosine to the teacher's embedding of the bare photo; RELATIONAL times a relational term, that the face be as
near to each of the training photos as the teacher has it (Kullback-Leibler of softmaxes at TEMPERATURE, after Park et
al. 2019 and Tejankar et al. 2021).
Every weight is its start plus a step in units of its channel's size, because the folded convolutions are of very
different sizes. In the last part of the run weights are rounded to int8 per channel as the converter will
(quantization-aware training, Jacob et al. 2018, weights alone). What is written takes only the share KEPT of each step:
between where a network started and where a fine-tune took it lie networks that are better than both (Wortsman et al.
2022); the share was chosen on the photos held back.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

import chain as chains
from beside import beside
from chain import Chain
from crops import Crops, cut, read
from disturb import disturbed

FROZEN = 11
BATCH = 48
TEMPERATURE = 0.08
RELATIONAL = 0.3
WORN_SHARE = 0.6
"""Of a batch: faces with a drawn mask."""
MADE = 18
"""Of a batch: blend.py's faces of nobody, where there are any."""
KEPT = 0.6
"""Share of each learnt step that is written."""
SHARES = (0.3, 0.45, 0.6, 0.75, 1.0)
"""Shares to tell about at the end."""
ROUNDED_FROM = 0.6
"""Share of the run after which weights are rounded."""
SHORT = torch.ops.mkldnn._is_mkldnn_bf16_supported()
"""Whether the processor multiplies bfloat16: AVX2 alone only acts as if, fourteen times slower than float32."""


class Block(nn.Module):
    """One convolution and its activation."""

    def __init__(self, layer: chains.Layer, *, learns: bool) -> None:
        super().__init__()
        self.stride, self.depthwise = layer.stride, layer.depthwise
        weights = torch.tensor(layer.weights)
        self.register_buffer("weights", weights)
        self.register_buffer("bias", torch.tensor(layer.bias))
        self.register_buffer("slopes", torch.tensor(layer.slopes))
        self.register_buffer("size", weights.square().mean((1, 2, 3), keepdim=True).sqrt())
        self.learns, self.rounds = learns, False
        if learns:
            self.step = nn.Parameter(torch.zeros_like(weights))
            self.bias_step = nn.Parameter(torch.zeros(len(weights)))
            self.slope_step = nn.Parameter(torch.zeros(len(weights)))

    def now(self, share: float = 1) -> tuple[Tensor, Tensor, Tensor]:
        """Weights, bias and slopes with this share of what was learnt."""
        if not self.learns:
            return self.weights, self.bias, self.slopes
        bias = self.bias + self.bias_step * self.bias.abs().mean() * share
        return self.weights + self.step * self.size * share, bias, (self.slopes + self.slope_step * share).clamp(-1, 1)

    def forward(self, x: Tensor) -> Tensor:
        weights, bias, slopes = self.now()
        weights = rounded(weights) if self.rounds else weights
        groups = x.shape[1] if self.depthwise else 1
        # oneDNN's bfloat16 gradient of a depthwise convolution that strides is many times slower than float32's.
        slow = not SHORT or (self.learns and self.depthwise and self.stride == 2)
        with torch.autocast("cpu", torch.bfloat16, enabled=not slow):
            y = functional.conv2d(
                x.float() if slow else x, weights, bias, self.stride, weights.shape[2] // 2, 1, groups
            )
            return functional.prelu(y, slopes.to(y.dtype))


def rounded(weights: Tensor) -> Tensor:
    """The nearest int8 weights, one scale per output channel; the gradient passes through."""
    scale = weights.detach().abs().flatten(1).amax(1).clamp(min=1e-12) / 127
    scale = scale.view(-1, *[1] * (weights.dim() - 1))
    return weights + ((weights / scale).round() * scale - weights).detach()


class Student(nn.Module):
    """The whole network."""

    def __init__(self, chain: Chain) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Block(layer, learns=n >= FROZEN) for n, layer in enumerate(chain.layers)))
        head = torch.tensor(chain.head).flatten(1)
        self.register_buffer("head", head)
        self.register_buffer("head_bias", torch.tensor(chain.head_bias))
        self.register_buffer("size", head.square().mean(1, keepdim=True).sqrt())
        self.step = nn.Parameter(torch.zeros_like(head))
        self.bias_step = nn.Parameter(torch.zeros(len(head)))
        self.rounds = False

    def round(self) -> None:
        """Round weights from now on."""
        self.rounds = True
        for block in self.blocks:
            block.rounds = True

    def now(self, share: float = 1) -> tuple[Tensor, Tensor]:
        """Weights and bias of the embedding with this share of what was learnt."""
        bias = self.head_bias + self.bias_step * self.head_bias.abs().mean() * share
        return self.head + self.step * self.size * share, bias

    def forward(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            x = self.blocks[:FROZEN](images)
        x = self.blocks[FROZEN:](x)
        weights, bias = self.now()
        embedding = functional.linear(x.flatten(1).float(), rounded(weights) if self.rounds else weights, bias)
        return functional.normalize(embedding)


def written(student: Student, chain: Chain, share: float) -> Chain:
    """The chain with this share of what the student learnt."""
    layers = []
    for layer, block in zip(chain.layers, student.blocks, strict=True):
        weights, bias, slopes = (t.detach().numpy().copy() for t in block.now(share))
        layers.append(replace(layer, weights=weights, bias=bias, slopes=slopes))
    head, head_bias = (t.detach().numpy().copy() for t in student.now(share))
    return Chain(tuple(layers), head.reshape(chain.head.shape), head_bias, None)


def samples(parts: list[Crops], rng: np.random.Generator) -> Iterator[tuple[np.ndarray, ...]]:
    """Batches without end: (b, 112, 112, 3) uint8, (b, 128) targets, (b,) whether a mask is worn."""
    orders = [
        shuffled([(i, n) for i, p in enumerate(parts) if p.made == made for n in lessons(p)], rng)
        for made in (False, True)
    ]
    made = MADE if any(p.made for p in parts) else 0
    while True:
        places = [next(orders[False]) for _ in range(BATCH - made)] + [next(orders[True]) for _ in range(made)]
        rows = [sample(parts[i], n, rng) for i, n in places]
        yield tuple(np.stack(kind) for kind in zip(*rows, strict=True))


def lessons(one: Crops) -> np.ndarray:
    """The photos of a folder that may be learnt from."""
    return np.nonzero(one.counts & ~one.held)[0]


def shuffled(places: list[tuple[int, int]], rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    """The places without end, each as often as the others."""
    while True:
        for place in rng.permutation(len(places)):
            yield places[place]


def sample(one: Crops, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.bool_]:
    """One face, masked or bare, as another camera and another moment would show it."""
    variants = np.nonzero(one.found[n])[0]
    masked = len(variants) > 0 and rng.random() < WORN_SHARE
    crop = one.worn[n, rng.choice(variants)] if masked else one.bare[n]
    return disturbed(np.asarray(crop), rng, strong=bool(rng.random() < 0.6)), one.teacher[n], np.bool_(masked)


def images(crops: np.ndarray) -> Tensor:
    """(n, 3, 112, 112) as the network takes them."""
    channels_last = torch.from_numpy(np.ascontiguousarray(crops)).permute(0, 3, 1, 2)
    return (channels_last.float() - 127.5) / 128


def loss(student: Student, batch: tuple[np.ndarray, ...], others: Tensor) -> tuple[Tensor, np.ndarray]:
    """The loss of a batch; and its mean cosine to the teacher bare and masked, and its relational term."""
    crops, targets, worn = batch
    target, masked = torch.from_numpy(targets), torch.from_numpy(worn)
    embedding = student(images(crops))
    cosine = (embedding * target).sum(1)
    wanted = functional.softmax(target @ others.T / TEMPERATURE, 1)
    seen = functional.log_softmax(embedding @ others.T / TEMPERATURE, 1)
    far = functional.kl_div(seen, wanted, reduction="batchmean")
    log = [float(t.detach()) for t in (cosine[~masked].mean(), cosine[masked].mean(), far)]
    return (1 - cosine).mean() + RELATIONAL * far, np.array(log)


class Exam:
    """Held-back faces: people with names against their own other photos, and everybody else as impostors."""

    def __init__(self, parts: list[Crops], size: int = 400) -> None:
        rng = np.random.default_rng(1)
        bare, worn, who = [], [], []
        for i, one in enumerate(parts):
            usable = np.nonzero(one.held & one.counts & one.found[:, 0])[0]
            for n in rng.permutation(usable)[:size]:
                bare.append(cut(one.bare[n]))
                worn.append(cut(one.worn[n, 0]))
                who.append(one.person[n] if one.person[n] >= 0 else 1000 + 100_000 * i + n)
        self.bare, self.worn, self.who = np.array(bare), np.array(worn), np.array(who)

    @torch.no_grad()
    def __call__(self, student: Student) -> str:
        """A line of verification rates; `held` people are few: good for following one run, no result."""
        bare, worn = (self._seen(student, crops) for crops in (self.bare, self.worn))
        apart = self.who[:, None] != self.who[None]
        other = ~apart & ~np.eye(len(self.who), dtype=bool)
        line = []
        for name, left, right in (("bare", bare, bare), ("masked", bare, worn), ("both", worn, worn)):
            scores = left @ right.T
            impostor, genuine = np.sort(scores[apart]), scores[other]
            rates = [(genuine >= impostor[-max(int(len(impostor) * far), 1)]).mean() for far in (1e-3, 1e-4)]
            line.append(f"{name} {' '.join(f'{r * 100:.2f}' for r in rates)}")
        twins = (bare * worn).sum(1).mean()
        return f"TAR at 1e-3, 1e-4: {'; '.join(line)}; masked to bare twin {twins:.4f}"

    @staticmethod
    def _seen(student: Student, crops: np.ndarray) -> np.ndarray:
        return torch.cat([student(images(crops[i : i + BATCH])) for i in range(0, len(crops), BATCH)]).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("start", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--minutes", type=float, default=50)
    parser.add_argument("--rate", type=float, default=6e-4, help="of a step relative to a channel's size")
    parser.add_argument("--exam-every", type=float, default=15, help="minutes")
    parser.add_argument("--resume", action="store_true")
    wanted = parser.parse_args()
    torch.manual_seed(7)
    parts = [read(folder) for folder in wanted.folders]
    chain = chains.load(wanted.start)
    student = Student(chain).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(student.parameters(), wanted.rate, betas=(0.9, 0.99), weight_decay=0.0)
    checkpoint = wanted.out.with_suffix(".pt")
    spent, shown = 0.0, 0
    if wanted.resume and checkpoint.exists():
        state = torch.load(checkpoint, weights_only=False)
        student.load_state_dict(state["student"])
        optimizer.load_state_dict(state["optimizer"])
        spent, shown = state["spent"], state["shown"]
    exam = Exam(parts)
    others = torch.from_numpy(np.concatenate([p.teacher[lessons(p)] for p in parts]))
    print(f"{len(others)} photos to learn from, {len(exam.who)} in the exam; start: {exam(student)}", flush=True)
    begun, examined, log = time.monotonic() - spent, time.monotonic(), []
    for batch in beside(samples(parts, np.random.default_rng(7 + shown))):
        passed = (time.monotonic() - begun) / 60 / wanted.minutes
        if passed >= ROUNDED_FROM and not student.rounds:
            student.round()
        for group in optimizer.param_groups:
            warm = min(1.0, (shown + BATCH) / (100 * BATCH))
            group["lr"] = wanted.rate * warm * (0.02 + 0.49 * (1 + math.cos(math.pi * min(passed, 1.0))))
        total, seen = loss(student, batch, others)
        optimizer.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(student.parameters(), 5.0)
        optimizer.step()
        shown += BATCH
        log.append(seen)
        if shown % (20 * BATCH) == 0:
            told = ", ".join(f"{v:.4f}" for v in np.nanmean(log, 0))
            print(f"{passed * wanted.minutes:.1f} min, {shown} faces: bare, masked, relational {told}", flush=True)
            log = []
        if passed >= 1 or time.monotonic() - examined > wanted.exam_every * 60:
            examined = time.monotonic()
            chains.save(wanted.out, written(student, chain, KEPT))
            state = {"student": student.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save(state | {"spent": examined - begun, "shown": shown}, checkpoint)
            print(f"{passed * wanted.minutes:.1f} min: {exam(student)}", flush=True)
        if passed >= 1:
            break
    for share in SHARES:
        print(f"{share:.2f} of each step: {exam(Student(written(student, chain, share)))}", flush=True)


if __name__ == "__main__":
    main()
