"""The liveness network in torch: two trunks, one for each view, and what is told from both.

Every trunk begins with filters that are not learnt: a cosine transform of 6 x 6 blocks in luma, and the coarse part of
it in both colour differences, each as strong as its usual response. They see blur, grain, moire, edges and tints. The
means of what they answer, rectified at three heights since a few strong responses are not many weak ones, are the
*bank*; convolutions that are learnt go on from there and see where it is.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from views import SIDE

BLOCK, STRIDE = 6, 3
"""Side of the filters and the step between them, pixels."""
HEIGHTS = (0.0, 1.0, 3.0)
"""Where responses are rectified, in standard deviations."""
TOP = 6.0
NEAR = ((32, 2), (64, 2), (64, 1), (64, 2))
WIDE = ((48, 2), (48, 1), (48, 1), (96, 2), (96, 1), (96, 1), (96, 2))
"""Width and stride of each convolution of either trunk; what one that changes neither says is added to what it sees."""
TOLD = 128
"""Numbers that the teachers' answers and the label are told from."""


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


class Layer(nn.Module):
    """One convolution."""

    def __init__(self, narrow: int, wide: int, stride: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(narrow, wide, 3, stride, 1, bias=False), nn.BatchNorm2d(wide)
        self.adds = (narrow, stride) == (wide, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x))
        return functional.relu6(x + y if self.adds else y)


class Trunk(nn.Module):
    """One view."""

    def __init__(self, layers: tuple[tuple[int, int], ...]) -> None:
        super().__init__()
        bank = torch.from_numpy(filters())
        self.stem = nn.Conv2d(3, len(bank), BLOCK, STRIDE, bias=False)
        self.stem.weight = nn.Parameter(bank, requires_grad=False)
        widths = [2 * len(bank), *(wide for wide, _ in layers)]
        made = (Layer(narrow, *layer) for narrow, layer in zip(widths, layers, strict=False))
        self.deep = nn.Sequential(*made)

    def responses(self, x: Tensor) -> Tensor:
        """(n, 2 m, h, w) of the filters that are not learnt, either sign by itself."""
        z = self.stem(x)
        return torch.cat([z, -z], 1).clamp(0, TOP)

    def means(self, x: Tensor, split: Tensor) -> Tensor:
        """(n, heights * m + 6) of the responses and the colours."""
        whole = sum(split.chunk(2, 1))
        means = [functional.relu(whole - height).mean((2, 3)) for height in HEIGHTS]
        return torch.cat([*means, *(functional.relu(sign * x).mean((2, 3)) for sign in (1, -1))], 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The means, and (n, k) what the convolutions see."""
        split = self.responses(x)
        return self.means(x, split), self.deep(split).flatten(1)


class Liveness(nn.Module):
    """Both views."""

    def __init__(self) -> None:
        super().__init__()
        self.near, self.wide = Trunk(NEAR), Trunk(WIDE)
        with torch.no_grad():
            means, seen = zip(*(trunk(torch.zeros(1, 3, SIDE, SIDE)) for trunk in (self.near, self.wide)), strict=True)
        many, flat = (sum(part.shape[1] for part in parts) for parts in (means, seen))
        self.even, self.bank = nn.BatchNorm1d(many, affine=False), nn.Linear(many, 1)
        self.drop, self.join = nn.Dropout(0.2), nn.Linear(flat, TOLD)
        self.lesson, self.label = nn.Linear(TOLD, 2), nn.Linear(TOLD, 1)

    def halves(self, x: Tensor) -> tuple[tuple[Trunk, Tensor], ...]:
        """Each trunk with its view."""
        return (self.near, x[:, :, :SIDE]), (self.wide, x[:, :, SIDE:])

    def means(self, x: Tensor) -> Tensor:
        """(n, k) what the bank judges from."""
        return torch.cat([trunk.means(part, trunk.responses(part)) for trunk, part in self.halves(x)], 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-odds of a living face: (n,) the bank's, (n, 2) as the teachers would say / STRETCH, (n,) the label's."""
        means, seen = zip(*(trunk(part) for trunk, part in self.halves(x)), strict=True)
        bank = self.bank(self.even(torch.cat(means, 1)))[:, 0]
        known = functional.relu6(self.join(self.drop(torch.cat(seen, 1))))
        return bank, self.lesson(known), self.label(known)[:, 0]


@torch.no_grad()
def measured(net: Liveness, views: np.ndarray) -> None:
    """Make the filters as strong as their usual response to such views: its standard deviation becomes 1."""
    x = images(views)
    for trunk, half in net.halves(x):
        responses = torch.cat([trunk.stem(part).transpose(0, 1).flatten(1) for part in half.split(100)], 1)
        trunk.stem.weight /= responses.square().mean(1).sqrt()[:, None, None, None]


def folded(net: Liveness) -> dict[str, np.ndarray]:
    """Weights by name, normalisations folded into what is beside them."""
    arrays: dict[str, np.ndarray] = {}
    for name, trunk in (("near", net.near), ("wide", net.wide)):
        arrays[f"{name}.stem"] = trunk.stem.weight.detach().numpy()
        for n, layer in enumerate(trunk.deep):
            norm = layer.norm
            scale = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach().numpy()
            arrays[f"{name}.{n}.weights"] = layer.conv.weight.detach().numpy() * scale[:, None, None, None]
            arrays[f"{name}.{n}.bias"] = norm.bias.detach().numpy() - norm.running_mean.numpy() * scale
    for name in ("join", "lesson", "label", "bank"):
        layer = getattr(net, name)
        arrays[f"{name}.weights"], arrays[f"{name}.bias"] = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    scale = 1 / (net.even.running_var + net.even.eps).sqrt().numpy()
    arrays["bank.weights"] = arrays["bank.weights"] * scale
    arrays["bank.bias"] = arrays["bank.bias"] - arrays["bank.weights"] @ net.even.running_mean.numpy()
    return arrays
