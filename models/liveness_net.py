"""The liveness network in torch: two trunks, one for each view, and what is told from both.

Every trunk begins with filters that are not learnt: a cosine transform of 6 x 6 blocks in luma, and the coarse part of
it in both colour differences, each as strong as its usual response. They see blur, grain, moire, edges and tints. The
means of what they answer, rectified at three heights since a few strong responses are not many weak ones, are the
*bank*; four convolutions that are learnt go on from there and see where it is.
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
LAYERS = ((48, 2), (96, 2), (128, 1), (64, 2))
"""Width and stride of each convolution of a trunk."""
WIDE = 128
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


class Trunk(nn.Module):
    """One view."""

    def __init__(self) -> None:
        super().__init__()
        bank = torch.from_numpy(filters())
        self.stem = nn.Conv2d(3, len(bank), BLOCK, STRIDE, bias=False)
        self.stem.weight = nn.Parameter(bank, requires_grad=False)
        layers: list[nn.Module] = []
        narrow = 2 * len(bank)
        for wide, stride in LAYERS:
            layers += [nn.Conv2d(narrow, wide, 3, stride, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6()]
            narrow = wide
        self.deep = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(n, heights * m + 6) means, and (n, k) what the convolutions see."""
        z = self.stem(x)
        split = torch.cat([z, -z], 1).clamp(0, TOP)
        whole = split[:, : z.shape[1]] + split[:, z.shape[1] :]
        means = [functional.relu(whole - height).mean((2, 3)) for height in HEIGHTS]
        means += [functional.relu(sign * x).mean((2, 3)) for sign in (1, -1)]
        return torch.cat(means, 1), self.deep(split).flatten(1)


class Liveness(nn.Module):
    """Both views; 47 million multiplications."""

    def __init__(self) -> None:
        super().__init__()
        self.near, self.wide = Trunk(), Trunk()
        with torch.no_grad():
            means, seen = self.near(torch.zeros(1, 3, SIDE, SIDE))
        self.even = nn.BatchNorm1d(2 * means.shape[1], affine=False)
        self.bank = nn.Linear(2 * means.shape[1], 1)
        self.drop, self.join = nn.Dropout(0.2), nn.Linear(2 * seen.shape[1], WIDE)
        self.lesson, self.label = nn.Linear(WIDE, 2), nn.Linear(WIDE, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-odds of a living face: (n,) the bank's, (n, 2) as the teachers would say / STRETCH, (n,) the label's."""
        means, seen = zip(self.near(x[:, :, :SIDE]), self.wide(x[:, :, SIDE:]), strict=True)
        bank = self.bank(self.even(torch.cat(means, 1)))[:, 0]
        known = functional.relu6(self.join(self.drop(torch.cat(seen, 1))))
        return bank, self.lesson(known), self.label(known)[:, 0]


@torch.no_grad()
def measured(net: Liveness, views: np.ndarray) -> None:
    """Make the filters as strong as their usual response to such views: its standard deviation becomes 1."""
    x = images(views)
    for trunk, half in ((net.near, x[:, :, :SIDE]), (net.wide, x[:, :, SIDE:])):
        responses = torch.cat([trunk.stem(part).transpose(0, 1).flatten(1) for part in half.split(100)], 1)
        trunk.stem.weight /= responses.square().mean(1).sqrt()[:, None, None, None]


def folded(net: Liveness) -> dict[str, np.ndarray]:
    """Weights by name, normalisations folded into what is beside them."""
    arrays: dict[str, np.ndarray] = {}
    for name, trunk in (("near", net.near), ("wide", net.wide)):
        arrays[f"{name}.stem"] = trunk.stem.weight.detach().numpy()
        for n in range(len(LAYERS)):
            made, norm = trunk.deep[3 * n], trunk.deep[3 * n + 1]
            scale = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach().numpy()
            arrays[f"{name}.{n}.weights"] = made.weight.detach().numpy() * scale[:, None, None, None]
            arrays[f"{name}.{n}.bias"] = norm.bias.detach().numpy() - norm.running_mean.numpy() * scale
    for name in ("join", "lesson", "label", "bank"):
        layer = getattr(net, name)
        arrays[f"{name}.weights"], arrays[f"{name}.bias"] = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    scale = 1 / (net.even.running_var + net.even.eps).sqrt().numpy()
    arrays["bank.weights"] = arrays["bank.weights"] * scale
    arrays["bank.bias"] = arrays["bank.bias"] - arrays["bank.weights"] @ net.even.running_mean.numpy()
    return arrays
