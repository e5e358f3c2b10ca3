"""Let the trained network settle into int8: a short run in which it computes as the int8 file will.

    python models/settle.py CHAIN.npz OUT.npz FOLDER... [--minutes 15]                                (env of training)

FOLDERs are prepare.py's. Channels are made even and ranges fitted as quantize.py does; then every map and every weight
is rounded as TFLite rounds it, and what learns (the layers train.py taught, in relative steps, and their biases) is
asked to say what the float network says of the same picture (quantization-aware training, Jacob et al. 2018; with the
float network as teacher, Mishra and Marr 2018, "Apprentice"). Ranges stay as fitted. Prints the cosine of int8 to float
on faces held back, before and after. What is written is float still, for train_mask.py and quantize.py to go on with.
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
import train
from beside import beside
from chain import Chain
from crops import Crops, cut, read
from ranges import activated, balanced, fitting

BATCH = 32
RATE = 1.5e-4
FITTED_ON = 96
"""Crops that ranges are fitted on, half of them masked."""
SEEN = 60_000
"""Values of each map that ranges are fitted to."""
EXAM = 200

Range = tuple[float, float]


def snapped(x: Tensor, reach: Range) -> Tensor:
    """The nearest of the 256 steps of the range; the gradient passes where the range is not left."""
    step = (reach[1] - reach[0]) / 255
    inside = x.clamp(*reach)
    return inside + ((inside / step).round() * step - inside).detach()


class Settling(nn.Module):
    """The network, computing in float or as int8 will."""

    def __init__(self, chain: Chain, ranges: list[tuple[Range, Range, Range, Range]]) -> None:
        super().__init__()
        self.student, self.ranges = train.Student(chain), ranges
        self.student.round()

    def forward(self, images: Tensor) -> Tensor:
        """Unit embeddings of (n, 3, 112, 112) as int8 gives them."""
        x = images
        for n, block in enumerate(self.student.blocks):
            with torch.set_grad_enabled(block.learns and torch.is_grad_enabled()):
                x = self._block(x, block, self.ranges[n])
        weights, bias = self.student.now()
        return functional.normalize(functional.linear(x.flatten(1), train.rounded(weights), bias))

    @staticmethod
    def _block(x: Tensor, block: train.Block, ranges: tuple[Range, Range, Range, Range]) -> Tensor:
        weights, bias, slopes = block.now()
        groups = x.shape[1] if block.depthwise else 1
        y = functional.conv2d(x, train.rounded(weights), bias, block.stride, weights.shape[2] // 2, 1, groups)
        y, a = snapped(y, ranges[0]), slopes.view(1, -1, 1, 1)
        return snapped(snapped(y * a, ranges[1]) + snapped(functional.relu(y * (1 - a)), ranges[2]), ranges[3])


@torch.no_grad()
def maps(chain: Chain, crops: np.ndarray) -> Iterator[list[np.ndarray]]:
    """Each layer's map before its activation, (n, h, w, c), for some crops at a time."""
    for start in range(0, len(crops), 16):
        x, seen = train.images(crops[start : start + 16]), []
        for layer in chain.layers:
            weights, bias, slopes = (torch.from_numpy(a) for a in (layer.weights, layer.bias, layer.slopes))
            groups = x.shape[1] if layer.depthwise else 1
            y = functional.conv2d(x, weights, bias, layer.stride, weights.shape[2] // 2, 1, groups)
            seen.append(y.permute(0, 2, 3, 1).numpy())
            x = functional.prelu(y, slopes)
        yield seen


def evened(chain: Chain, crops: np.ndarray) -> Chain:
    """The same network with even channels, as quantize.py makes them."""
    most = [np.zeros(len(layer.weights)) for layer in chain.layers]
    for seen in maps(chain, crops):
        for n, (found, layer) in enumerate(zip(seen, chain.layers, strict=True)):
            most[n] = np.maximum(most[n], np.abs(activated(found, layer.slopes)).max((0, 1, 2)))
    reach = [np.maximum(m / np.median(m), 1e-3).astype(np.float32) for m in most]
    return chains.equalised(chain, balanced(reach))


def fitted(chain: Chain, crops: np.ndarray) -> list[tuple[Range, Range, Range, Range]]:
    """The ranges of each layer's four maps: the convolution's, its two parts, their sum."""
    rng, values = np.random.default_rng(0), [[] for _ in chain.layers]
    for seen in maps(chain, crops):
        for n, found in enumerate(seen):
            flat = found.reshape(-1, found.shape[-1])
            some = max(SEEN * len(found) // len(crops) // flat.shape[1], 1)
            values[n].append(flat[rng.integers(len(flat), size=some)])
    ranges = []
    for layer, some in zip(chain.layers, values, strict=True):
        x, a = np.concatenate(some), layer.slopes
        convolved = fitting(x, lambda given, a=a: activated(given, a))
        ranges.append((convolved, fitting(x * a), fitting(np.maximum(x * (1 - a), 0)), fitting(activated(x, a))))
    return ranges


def faces(parts: list[Crops], wanted: int, *, held: bool) -> np.ndarray:
    """(wanted, 112, 112, 3), every other one masked."""
    usable = [
        (i, n) for i, one in enumerate(parts) for n in np.nonzero(one.counts & (one.held == held) & one.found[:, 0])[0]
    ]
    picked = np.random.default_rng(0).permutation(usable)[:wanted]
    return np.stack([cut(parts[i].worn[n, 0] if k % 2 else parts[i].bare[n]) for k, (i, n) in enumerate(picked)])


@torch.no_grad()
def exam(net: nn.Module, real: nn.Module, crops: np.ndarray) -> str:
    """A line: the cosine of the two networks' embeddings."""
    near = [(net(x) * real(x)).sum(1) for x in train.images(crops).split(BATCH)]
    cosine = torch.cat(near).numpy()
    return f"int8 to float, n={len(cosine)}: cosine {cosine.mean():.4f} mean, {cosine.min():.4f} least"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chain", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--minutes", type=float, default=15)
    wanted = parser.parse_args()
    torch.manual_seed(7)
    parts = [read(folder) for folder in wanted.folders]
    start = chains.load(wanted.chain)
    shown = faces(parts, FITTED_ON, held=False)
    chain = evened(start, shown)
    net, real = Settling(chain, fitted(chain, shown)), train.Student(chain).eval()
    held = faces(parts, EXAM, held=True)
    print(f"start: {exam(net, real, held)}", flush=True)
    learnt = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(learnt, RATE, betas=(0.9, 0.99))
    begun, log, passed = time.monotonic(), [], 0.0
    for step, batch in enumerate(beside(train.samples(parts, np.random.default_rng(11)))):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / 20) * (0.02 + 0.49 * (1 + math.cos(math.pi * passed)))
        x = train.images(batch[0][:BATCH])
        with torch.no_grad():
            target = real(x)
        loss = (1 - (net(x) * target).sum(1)).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(learnt, 1.0)
        optimizer.step()
        log.append(float(loss.detach()))
        passed = min((time.monotonic() - begun) / 60 / wanted.minutes, 1.0)
        if step % 20 == 19:
            print(f"{passed * wanted.minutes:.1f} min, {(step + 1) * BATCH} faces: {np.mean(log):.5f}", flush=True)
            log = []
        if passed >= 1:
            break
    settled = replace(train.written(net.student, chain, 1.0), mask=chain.mask)
    chains.save(wanted.out, settled)
    print(f"end: {exam(net, real, held)}", flush=True)


if __name__ == "__main__":
    main()
