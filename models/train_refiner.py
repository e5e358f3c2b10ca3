"""Train the refiner: a face roughly laid out in, its five landmarks out, masked or not. Half an hour on one core.

    PYTHONPATH=daemon:models python models/train_refiner.py EYES OUT.pt [--minutes 25]           (env of training)

EYES is stage_eyes.py's. Each face is laid out wrongly by chance, by as much as the detector errs under a mask and more,
and shown as another camera would; the network says where the landmarks of the bare photo lie, in units of UNIT pixels
off the template. Every tenth photo is held back for the lines of validation.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from beside import beside
from layouts import RIM, SIDE, UNIT, shown
from maskgate import align

BATCH = 64
LAYERS = ((24, 2), (40, 2), (40, 1), (80, 2), (80, 1), (112, 2), (112, 2))
"""Width and stride of each convolution."""
WEIGHTS = torch.tensor([1.0, 1.0, 0.3, 0.3, 0.3])


def network() -> nn.Sequential:
    """Seven convolutions and two products, 31 million multiplications."""
    layers: list[nn.Module] = []
    narrow = 3
    for wide, stride in LAYERS:
        layers += [nn.Conv2d(narrow, wide, 3, stride, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU()]
        narrow = wide
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(narrow * 9, 128), nn.ReLU(), nn.Linear(128, 10))


def images(crops: np.ndarray) -> Tensor:
    """(n, 3, SIDE, SIDE) as the network takes them."""
    return (torch.from_numpy(crops).permute(0, 3, 1, 2).float() - 127.5) / 128


def batches(
    wide: np.ndarray, points: np.ndarray, which: np.ndarray, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, ...]]:
    """Without end, of the photos `which`; two thirds masked."""
    while True:
        rows = [shown(wide[n, rng.integers(3)], points[n], rng) for n in rng.choice(which, BATCH)]
        yield tuple(np.stack(kind) for kind in zip(*rows, strict=True))


def tensors(batch: tuple[np.ndarray, ...]) -> tuple[Tensor, Tensor]:
    """What the network takes, and what it should say."""
    crops, off = batch
    return images(crops).contiguous(memory_format=torch.channels_last), torch.from_numpy(off)


def loss(net: nn.Module, given: Tensor, wanted: Tensor) -> Tensor:
    """Huber's, the eyes counting most; its bend at half a pixel of the input, for the last pixel is worth the most."""
    seen = net(given).view(-1, 5, 2)
    each = functional.smooth_l1_loss(seen, wanted, reduction="none", beta=0.06).mean(2)
    return (each * WEIGHTS).mean()


@torch.no_grad()
def validated(net: nn.Module, exam: list[tuple[Tensor, Tensor]]) -> str:
    """Distance of the eyes from the truth in template pixels, masked and bare mixed: before and after."""
    net.eval()
    to_template = UNIT * (align.SIDE + 2 * RIM) / SIDE
    before, after = [], []
    for given, wanted in exam:
        seen = net(given).view(-1, 5, 2)
        before.append(wanted[:, :2].norm(dim=2).mean(1) * to_template)
        after.append((seen - wanted)[:, :2].norm(dim=2).mean(1) * to_template)
    net.train()
    a, b = torch.cat(before), torch.cat(after)
    tail = f"{a.quantile(0.95):.2f} -> {b.quantile(0.95):.2f}"
    return f"eyes off {a.mean():.2f} -> {b.mean():.2f} px, 95th percentile {tail}"


def folded(net: nn.Sequential) -> dict[str, np.ndarray]:
    """Weights and biases by number, normalisations folded into the convolutions before them: for convert_refiner.py."""
    arrays: dict[str, np.ndarray] = {}
    for layer in net:
        if isinstance(layer, nn.BatchNorm2d):
            scale = layer.weight / (layer.running_var + layer.eps).sqrt()
            number = len(arrays) // 2 - 1
            arrays[f"{number}.weights"] = arrays[f"{number}.weights"] * scale.detach().numpy()[:, None, None, None]
            arrays[f"{number}.bias"] = (layer.bias - layer.running_mean * scale).detach().numpy()
        elif isinstance(layer, nn.Conv2d | nn.Linear):
            number = len(arrays) // 2
            arrays[f"{number}.weights"] = layer.weight.detach().numpy()
            arrays[f"{number}.bias"] = np.zeros(0) if layer.bias is None else layer.bias.detach().numpy()
    return arrays


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("eyes", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--threads", type=int, default=1)
    wanted = parser.parse_args()
    torch.set_num_threads(wanted.threads)
    torch.manual_seed(3)
    wide, points = np.load(wanted.eyes / "wide.npy", mmap_mode="r"), np.load(wanted.eyes / "points.npy")
    held = np.arange(len(wide)) % 10 == 0
    feed = beside(batches(wide, points, np.nonzero(~held)[0], np.random.default_rng(3)))
    tests = batches(wide, points, np.nonzero(held)[0], np.random.default_rng(4))
    exam = [tensors(next(tests)) for _ in range(12)]
    net = network().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=0.02)
    begun = shown_last = time.monotonic()
    means: list[float] = []
    while (passed := (time.monotonic() - begun) / 60 / wanted.minutes) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1.0, (len(means) + 1) / 100) * 0.5 * (1 + np.cos(np.pi * passed))
        total = loss(net, *tensors(next(feed)))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        means.append(float(total.detach()))
        if time.monotonic() - shown_last > 60:
            shown_last = time.monotonic()
            told = validated(net, exam)
            print(
                f"{passed * wanted.minutes:.1f} min, {len(means) * BATCH} faces: {np.mean(means[-100:]):.4f}; {told}",
                flush=True,
            )
            torch.save(net.state_dict(), wanted.out)
    torch.save(net.state_dict(), wanted.out)
    strides = {f"{n}.stride": np.array(stride) for n, (_, stride) in enumerate(LAYERS)}
    np.savez(wanted.out.with_suffix(".npz"), **folded(net), **strides)
    print(validated(net, exam))


if __name__ == "__main__":
    main()
