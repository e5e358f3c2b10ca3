"""Give SFace activations that int8 runtimes take whole: one slope per layer instead of one per channel. No training.

    python models/activations.py SFACE.onnx START.npz FOLDER... [--faces 300]                       (env of training)

First every slope above 1 is turned below it (`chain.tamed`, exact). Then, layer by layer from the input, each slope
becomes the layer's mean weighted by what its negative side carries, or zero (ReLU) when that is below RELU; and the
next convolution is fitted anew by ridge regression so that, reading the changed activations, it gives what it gave
before: per channel for a depthwise convolution, all channels together for a pointwise one. Averaging the slopes alone
takes the embedding to cosine .08; this to .93, from where train.py goes on. FOLDERs are render.py's.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

import chain as chains
from chain import Layer
from crops import cut
from train import images

RELU = 0.13
RIDGE = 1e-3
"""Pull towards the old weights, in units of the inputs' mean square."""
PLACES = 196
"""Pixels of each map that take part in a fit."""
CHUNK = 50


def convolved(layer: Layer, weights: Tensor, bias: Tensor, x: Tensor) -> Tensor:
    """One convolution without its activation."""
    groups = x.shape[1] if layer.depthwise else 1
    parts = [
        functional.conv2d(x[i : i + CHUNK], weights, bias, layer.stride, weights.shape[2] // 2, 1, groups)
        for i in range(0, len(x), CHUNK)
    ]
    return torch.cat(parts)


def fitted(layer: Layer, weights: Tensor, bias: Tensor, given: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Weights and bias that take `given` nearest to `wanted`, both (n, channels, h, w)."""
    pairs = depthwise_pairs if layer.depthwise else pointwise_pairs
    old = torch.cat([weights.flatten(1), bias[:, None]], 1).double()
    solved = ridge(pairs(layer, given, wanted), old if layer.depthwise else old[None])
    solved = solved.reshape(old.shape).float()
    return solved[:, :-1].reshape(weights.shape), solved[:, -1]


def ridge(pairs: Iterator[tuple[Tensor, Tensor]], old: Tensor) -> Tensor:
    """Solve problems side by side: inputs (p, m, k) with targets (p, m, t) and old solutions (p, t, k) or (p, k)."""
    old = old if old.dim() == 3 else old[:, None]
    square: Tensor | float = 0.0
    product: Tensor | float = 0.0
    for x, y in pairs:
        square = square + x.transpose(1, 2) @ x
        product = product + x.transpose(1, 2) @ y
    assert isinstance(square, Tensor)
    pull = RIDGE * square.diagonal(dim1=1, dim2=2).mean(1)[:, None, None] * torch.eye(square.shape[1]).double()
    return torch.linalg.solve(square + pull, product + pull @ old.transpose(1, 2)).transpose(1, 2)


def pointwise_pairs(layer: Layer, given: Tensor, wanted: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """One problem: every output channel from all input channels."""
    step = max(1, given.shape[2] * given.shape[3] // PLACES)
    for i in range(0, len(given), CHUNK):
        x, y = (t[i : i + CHUNK].flatten(2)[..., ::step].permute(0, 2, 1).flatten(0, 1) for t in (given, wanted))
        yield with_one(x.double())[None], y.double()[None]


def depthwise_pairs(layer: Layer, given: Tensor, wanted: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """One problem per channel: its nine neighbours."""
    step = max(1, wanted.shape[2] * wanted.shape[3] // PLACES)
    for i in range(0, len(given), CHUNK):
        part = functional.unfold(given[i : i + CHUNK], 3, padding=1, stride=layer.stride)[..., ::step]
        x = part.unflatten(1, (given.shape[1], 9)).permute(1, 0, 3, 2).flatten(1, 2)
        y = wanted[i : i + CHUNK].flatten(2)[..., ::step].permute(1, 0, 2).flatten(1, 2)
        yield with_one(x.double()), y.double()[..., None]


def with_one(x: Tensor) -> Tensor:
    """The inputs with a one for the bias."""
    return torch.cat([x, torch.ones_like(x[..., :1])], -1)


def slope(slopes: Tensor, wanted: Tensor) -> float:
    """One slope for a layer whose channels have `slopes` and give `wanted` before activation."""
    below = wanted.clamp(max=0).square().mean((0, 2, 3)) / wanted.square().mean((0, 2, 3))
    mean = float((slopes * below).sum() / below.sum())
    return 0.0 if abs(mean) < RELU else round(mean, 2)


def activated(x: Tensor, slopes: Tensor) -> Tensor:
    """PReLU."""
    return functional.prelu(x, slopes)


@torch.no_grad()
def refitted(chain: chains.Chain, x: Tensor) -> chains.Chain:
    """The chain with one slope per layer, fitted on the faces `x` (n, 3, 112, 112)."""
    before = after = x
    layers = []
    for number, layer in enumerate(chain.layers):
        weights, bias, slopes = (torch.tensor(a) for a in (layer.weights, layer.bias, layer.slopes))
        wanted = convolved(layer, weights, bias, before)
        if number:
            weights, bias = fitted(layer, weights, bias, after, wanted)
        given = convolved(layer, weights, bias, after)
        one = torch.full_like(slopes, slope(slopes, wanted))
        before, after = activated(wanted, slopes), activated(given, one)
        off = float(((after - before).square().mean((0, 2, 3)) / before.var((0, 2, 3))).mean())
        print(f"layer {number} {tuple(weights.shape)}: slope {float(one[0]):.2f}, error {off:.3f}", flush=True)
        layers.append(replace(layer, weights=weights.numpy(), bias=bias.numpy(), slopes=one.numpy()))
    head, bias = torch.tensor(chain.head).flatten(1), torch.tensor(chain.head_bias)
    missing = (before - after).flatten(1) @ head.T
    new = head + dual_ridge(after.flatten(1), missing)
    old, now = before.flatten(1) @ head.T + bias, after.flatten(1) @ new.T + bias
    print(f"cosine to the network as it was: {float(functional.cosine_similarity(old, now).mean()):.4f} on these faces")
    return replace(chain, layers=tuple(layers), head=new.reshape(chain.head.shape).numpy())


def dual_ridge(x: Tensor, y: Tensor) -> Tensor:
    """The smallest (t, k) change of weights that nearly gives `y` (n, t) from `x` (n, k), for k far above n."""
    wide = x.double()
    kernel = wide @ wide.T
    pull = 0.1 * kernel.diagonal().mean() * torch.eye(len(kernel)).double()
    return (torch.linalg.solve(kernel + pull, y.double()).T @ wide).float()


def faces(folders: list[Path], count: int) -> Tensor:
    """Bare and masked faces alike, `count` photos of each folder."""
    rng = np.random.default_rng(0)
    found = []
    for folder in folders:
        bare, worn = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("bare", "worn"))
        there = [n for n in rng.permutation(len(bare)) if bare[n, 64].any() and worn[n, 0, 64].any()][:count]
        found += [cut(bare[n]) for n in there] + [cut(worn[n, 0]) for n in there]
    return images(np.array(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("onnx", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--faces", type=int, default=100, help="photos of each folder to fit on")
    wanted = parser.parse_args()
    chains.save(wanted.out, refitted(chains.from_onnx(wanted.onnx), faces(wanted.folders, wanted.faces)))


if __name__ == "__main__":
    main()
