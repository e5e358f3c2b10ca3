"""The liveness network in torch: two trunks, one for each view, and what is told from both.

Every trunk begins with filters that are not learnt: a cosine transform of 6 x 6 blocks in luma, and the coarse part of
it in both colour differences, each as strong as its usual response. They see blur, grain, moire, edges and tints. The
means of what they answer, rectified at three heights since a few strong responses are not many weak ones, are told from
by two regressions: over both views whole, and over the band of the eyes, which a mask leaves free. Convolutions that
are learnt go on from the filters and see where it is.
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
"""Numbers that the teachers' answers are told from."""
EYES = (7, 15), (24, 48)
"""First and one past the last row of the near view's responses, and of its pixels, that lie across the eyes."""


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


def halves(x: Tensor) -> tuple[Tensor, Tensor]:
    """(n, 3, SIDE, SIDE) each: the near view and the wide one."""
    return x[:, :, :SIDE], x[:, :, SIDE:]


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


class Bank(nn.Module):
    """A regression on means, each evened out first."""

    def __init__(self, many: int) -> None:
        super().__init__()
        self.even, self.odds = nn.BatchNorm1d(many, affine=False), nn.Linear(many, 1)

    def forward(self, means: Tensor) -> Tensor:
        return self.odds(self.even(means))[:, 0]


class Liveness(nn.Module):
    """Both views."""

    def __init__(self) -> None:
        super().__init__()
        self.near, self.wide = Trunk(NEAR), Trunk(WIDE)
        blank = torch.zeros(1, 3, SIDE, SIDE)
        with torch.no_grad():
            flat = sum(trunk.deep(trunk.responses(blank)).numel() for trunk in (self.near, self.wide))
            many = self.near.means(blank, self.near.responses(blank)).shape[1]
        self.whole, self.eyes = Bank(2 * many), Bank(many)
        self.drop, self.join, self.lesson = nn.Dropout(0.2), nn.Linear(flat, TOLD), nn.Linear(TOLD, 2)

    def responses(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Of the near trunk's filters and the wide one's."""
        near, wide = halves(x)
        return self.near.responses(near), self.wide.responses(wide)

    def means(self, x: Tensor, near: Tensor, wide: Tensor) -> tuple[Tensor, Tensor]:
        """(n, 2 k) and (n, k): what either bank judges from."""
        face, around = halves(x)
        whole = self.near.means(face, near), self.wide.means(around, wide)
        (first, last), (top, bottom) = EYES
        return torch.cat(whole, 1), self.near.means(face[:, :, top:bottom], near[:, :, first:last])

    def taught(self, near: Tensor, wide: Tensor) -> Tensor:
        """(n, 2): what either teacher would say, in log-odds of a living face / STRETCH."""
        seen = torch.cat([self.near.deep(near).flatten(1), self.wide.deep(wide).flatten(1)], 1)
        return self.lesson(functional.relu6(self.join(self.drop(seen))))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-odds of a living face: (n,) of both banks, (n, 2) as `taught`."""
        near, wide = self.responses(x)
        whole, eyes = self.means(x, near, wide)
        return self.whole(whole), self.eyes(eyes), self.taught(near, wide)


@torch.no_grad()
def measured(net: Liveness, views: np.ndarray) -> None:
    """Make the filters as strong as their usual response to such views: its standard deviation becomes 1."""
    x = images(views)
    for trunk, half in zip((net.near, net.wide), halves(x), strict=True):
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
    for name in ("join", "lesson"):
        layer = getattr(net, name)
        arrays[f"{name}.weights"], arrays[f"{name}.bias"] = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    for name, bank in (("whole", net.whole), ("eyes", net.eyes)):
        scale = 1 / (bank.even.running_var + bank.even.eps).sqrt().numpy()
        arrays[f"{name}.weights"] = bank.odds.weight.detach().numpy() * scale
        shift = arrays[f"{name}.weights"] @ bank.even.running_mean.numpy()
        arrays[f"{name}.bias"] = bank.odds.bias.detach().numpy() - shift
    return arrays
