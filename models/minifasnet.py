"""The two MiniFASNets of minivision-ai's Silent-Face-Anti-Spoofing (Apache-2.0), to compare with and learn from. torch.

Rebuilt from the shapes in their weights: MobileNet's inverted bottlenecks with PReLU, pruned to odd widths. They take
80 x 80 BGR 0-255 and tell three classes, of which the second is a live person. Never shipped.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

SIDE = 80
LIVE = 1
"""Number of the class of live people."""
SPANS = {"2.7_80x80_MiniFASNetV2.pth": 2.7, "4_0_0_80x80_MiniFASNetV1SE.pth": 4.0}
"""What each sees, in sides of the face's box."""


class Block(nn.Module):
    """Convolution, normalisation, PReLU where there are slopes for it."""

    def __init__(self, shapes: dict[str, torch.Size], at: str, stride: int = 1, pad: int | None = None) -> None:
        super().__init__()
        out, per_group, size, _ = shapes[f"{at}.conv.weight"]
        groups = out if per_group == 1 and size > 1 else 1
        padding = (size // 2) if pad is None else pad
        self.conv = nn.Conv2d(per_group * groups, out, size, stride, padding, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(out)
        self.prelu = nn.PReLU(out) if f"{at}.prelu.weight" in shapes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.prelu(self.bn(self.conv(x)))


class Squeeze(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, shapes: dict[str, torch.Size], at: str) -> None:
        super().__init__()
        narrow, wide = shapes[f"{at}.fc1.weight"][:2]
        self.fc1, self.bn1 = nn.Conv2d(wide, narrow, 1, bias=False), nn.BatchNorm2d(narrow)
        self.fc2, self.bn2 = nn.Conv2d(narrow, wide, 1, bias=False), nn.BatchNorm2d(wide)

    def forward(self, x: Tensor) -> Tensor:
        told = self.bn1(self.fc1(x.mean((2, 3), keepdim=True))).relu()
        return x * self.bn2(self.fc2(told)).sigmoid()


class Bottleneck(nn.Module):
    """Widen, look, narrow; added to what came in where the size stays."""

    def __init__(self, shapes: dict[str, torch.Size], at: str, stride: int) -> None:
        super().__init__()
        self.conv = Block(shapes, f"{at}.conv")
        self.conv_dw = Block(shapes, f"{at}.conv_dw", stride)
        self.project = Block(shapes, f"{at}.project")
        self.se_module = Squeeze(shapes, f"{at}.se_module") if f"{at}.se_module.fc1.weight" in shapes else None
        self.residual = stride == 1

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.conv_dw(self.conv(x)))
        y = self.se_module(y) if self.se_module else y
        return x + y if self.residual else y


class Stack(nn.Module):
    """Bottlenecks one after the other."""

    def __init__(self, shapes: dict[str, torch.Size], at: str) -> None:
        super().__init__()
        many = len({name.split(".")[2] for name in shapes if name.startswith(f"{at}.model.")})
        self.model = nn.Sequential(*(Bottleneck(shapes, f"{at}.model.{n}", 1) for n in range(many)))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class MiniFASNet(nn.Module):
    """One of the two networks, as large as its weights say."""

    def __init__(self, shapes: dict[str, torch.Size]) -> None:
        super().__init__()
        self.conv1, self.conv2_dw = Block(shapes, "conv1", 2), Block(shapes, "conv2_dw")
        self.conv_23, self.conv_3 = Bottleneck(shapes, "conv_23", 2), Stack(shapes, "conv_3")
        self.conv_34, self.conv_4 = Bottleneck(shapes, "conv_34", 2), Stack(shapes, "conv_4")
        self.conv_45, self.conv_5 = Bottleneck(shapes, "conv_45", 2), Stack(shapes, "conv_5")
        self.conv_6_sep, self.conv_6_dw = Block(shapes, "conv_6_sep"), Block(shapes, "conv_6_dw", pad=0)
        self.linear = nn.Linear(512, 128, bias=False)
        self.bn = nn.BatchNorm1d(128)
        self.prob = nn.Linear(128, 3, bias=False)

    def features(self, x: Tensor) -> Tensor:
        """(n, 128) what the classes are told from, of (n, 3, 80, 80) BGR 0-255."""
        x = self.conv_3(self.conv_23(self.conv2_dw(self.conv1(x))))
        x = self.conv_5(self.conv_45(self.conv_4(self.conv_34(x))))
        return self.bn(self.linear(self.conv_6_dw(self.conv_6_sep(x)).flatten(1)))

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3) logits."""
        return self.prob(self.features(x))


def load(path: Path) -> MiniFASNet:
    """Read one of the two."""
    weights = {name.removeprefix("module."): value for name, value in torch.load(path, map_location="cpu").items()}
    net = MiniFASNet({name: value.shape for name, value in weights.items()})
    net.load_state_dict(weights)
    return net.eval()
