"""Draw a worn face mask onto a photo, for training, for tests and for the demo's visits. Reads no file or clock.

The five landmarks pose a coarse head: millimetres, origin between the eyes, x to the image's right, y down, z towards
the camera. Every pixel near the lower face is carried back onto that head, and outline, folds, weave and shading are
functions of millimetres there; so a mask turns with the head and is equally sharp at any face size. Drawn masks are a
stand-in: whoever measures with them says that they were drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFilter

Image: TypeAlias = NDArray[np.uint8]
Field: TypeAlias = NDArray[Any]
"""Floats per pixel of the patch, (h, w) or (h, w, 3)."""
Shade: TypeAlias = Callable[["Patch", np.random.Generator], Field]

KINDS = ("surgical", "cloth", "n95", "dark", "patterned", "below_nose", "scarf")

HEAD_MM = np.array([[-31.5, 0, 0], [31.5, 0, 0], [0, 42, 27], [-25, 69, 4], [25, 69, 4]], np.float64)
"""Right eye, left eye, nose tip, right and left mouth corner of the head that is posed."""
EAR_MM = np.array([67.0, 16.0, -60.0])
CENTRE_MM = (0.0, 72.0)
"""Every outline is star-shaped around this point."""

PLAIN = (
    (150, 60, 62),
    (84, 110, 86),
    (196, 184, 160),
    (120, 128, 140),
    (176, 140, 150),
    (70, 96, 136),
    (214, 210, 204),
)
DARK = ((24, 24, 26), (34, 36, 44), (28, 36, 58), (52, 50, 50), (46, 30, 34))
SURGICAL = ((148, 190, 214), (166, 204, 222), (232, 236, 238), (160, 206, 196), (222, 186, 196))
WHITE = ((236, 236, 232), (226, 228, 230), (238, 232, 220))


@dataclass(frozen=True, slots=True)
class Pose:
    """Where the head stands in the picture: pixel = xy @ plane + z * depth + at."""

    plane: NDArray[np.float64]
    """(2, 2), pixels per millimetre along x and y of the head."""
    depth: NDArray[np.float64]
    """(2,), pixels per millimetre towards the camera; zero for a frontal head."""
    at: NDArray[np.float64]
    """(2,), the pixel between the eyes."""

    @property
    def scale(self) -> float:
        """Pixels per millimetre, the turn of the head left out."""
        return float(np.hypot(np.sqrt(abs(np.linalg.det(self.plane))), np.linalg.norm(self.depth) / 2))

    def project(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pixels (n, 2) of points (n, 3) in millimetres."""
        return points[:, :2] @ self.plane + points[:, 2:] * self.depth + self.at


@dataclass(frozen=True, slots=True)
class Patch:
    """The part of the picture that a mask may touch, carried back onto the head."""

    left: int
    top: int
    x: Field
    y: Field
    scale: float
    """Pixels per millimetre."""
    slope: tuple[Field, Field]
    """dz/dx and dz/dy of the mask's surface."""

    @property
    def pixels(self) -> tuple[slice, slice]:
        """Where the patch lies in the picture, to index it with."""
        return slice(self.top, self.top + self.x.shape[0]), slice(self.left, self.left + self.x.shape[1])

    def line(self, distance: Field, width_mm: float) -> Field:
        """A soft line of `width_mm` where `distance` is zero, 1 at its middle; a thin one fades instead."""
        width = max(width_mm, 0.7 / self.scale)
        return np.asarray(np.exp(-((distance / width) ** 2)) * np.float32(width_mm / width))

    def waves(self, along: Field, period_mm: float) -> Field:
        """A sine of `period_mm`, -1 to 1; vanishes as the period nears two pixels."""
        sharp = np.exp(-((2.2 / (self.scale * period_mm)) ** 2))
        return np.asarray(np.sin(along * np.float32(2 * np.pi / period_mm)) * np.float32(sharp))


@dataclass(frozen=True, slots=True)
class Style:
    """What sets one kind of mask apart from another."""

    outline: tuple[tuple[float, float], ...]
    """Half an outline in millimetres, from the middle of the upper edge down to the middle of the lower edge."""
    colours: tuple[tuple[int, int, int], ...]
    shade: Shade
    """Relative brightness of folds and weave, about 0."""
    straps: tuple[tuple[float, float], ...]
    """Height in millimetres at which a strap leaves the mask's side, and how far above the ear's middle it ends."""
    gloss: float = 0.0
    figured: bool = False
    """True when a pattern is printed on it."""


def draw(rgb: Image, landmarks: NDArray[Any], kind: str, rng: np.random.Generator) -> Image:
    """A copy of the picture with a mask of `kind` (one of `KINDS`) worn by the face with these landmarks.

    `landmarks` is (5, 2): right eye (image left), left eye, nose tip, right and left mouth corner, in pixels. The same
    generator state gives the same mask. Raises ValueError for an unknown kind.
    """
    if kind not in KINDS:
        raise ValueError(f"mask kind is {kind!r}, must be one of {', '.join(KINDS)}")
    style = choose_style(kind, rng)
    pose = fit_pose(np.asarray(landmarks, np.float64))
    outline = full_outline(style.outline, rng)
    patch = cut_patch(pose, outline, rgb.shape[:2])
    if patch is None:
        return rgb.copy()
    return wear(rgb, pose, patch, outline, style, rng)


def wear(
    rgb: Image, pose: Pose, patch: Patch, outline: NDArray[np.float64], style: Style, rng: np.random.Generator
) -> Image:
    """Lay shadow, straps and fabric over the patch, in that order."""
    under = rgb[patch.pixels].astype(np.float32)
    light = face_light(under, patch)
    inside = distance_inside(patch, outline)
    colour = np.array(style.colours[rng.integers(len(style.colours))], np.float32) + rng.normal(0, 5, 3).astype("f4")
    over = under * contact_shadow(patch, inside)[..., None]
    over = tie(over, pose, patch, outline, style, colour * light.mean(), rng)
    fabric = dye(patch, colour, style, rng) * (light * shading(patch, inside, style, rng))[..., None]
    fabric += rng.normal(0, 1.6, patch.x.shape).astype("f4")[..., None]
    alpha = np.clip(0.5 + inside * patch.scale / soft_px(patch), 0, 1)[..., None]
    out = rgb.copy()
    out[patch.pixels] = np.clip(in_keeping(over + (fabric - over) * alpha, under) + 0.5, 0, 255).astype(np.uint8)
    return out


def soft_px(patch: Patch) -> float:
    """Width of the fabric's edge in pixels: at least antialiased, and half a millimetre of hem."""
    return max(1.3, 0.9 * patch.scale)


def in_keeping(worn: Field, under: Field) -> Field:
    """What is worn in a grey picture is grey, in a colour picture as it is."""
    if float(np.ptp(under, axis=2).mean()) > 4:
        return worn
    return np.repeat(worn.mean(axis=2, keepdims=True), 3, axis=2)


# The head ----------------------------------------------------------------------------------------------------------


def fit_pose(landmarks: NDArray[np.float64]) -> Pose:
    """The affine pose that carries eyes and mouth onto the landmarks, and the nose by the turn of the head."""
    flat = HEAD_MM[[0, 1, 3, 4]]
    known = np.column_stack([flat[:, :2], np.ones(4)])
    plane_at = np.linalg.lstsq(known, landmarks[[0, 1, 3, 4]], rcond=None)[0]
    plane, at = plane_at[:2], plane_at[2]
    limit = 0.6 * np.sqrt(abs(np.linalg.det(plane)) + 1e-9)
    depth = (landmarks[2] - HEAD_MM[2, :2] @ plane - at) / (HEAD_MM[2, 2] - 2)
    # The nose's height varies between people more than heads nod: believe its sideways shift, half of the other.
    down = plane[1] / (np.linalg.norm(plane[1]) + 1e-9)
    depth = depth - 0.5 * (depth @ down) * down
    return Pose(plane, depth * min(1.0, limit / (np.linalg.norm(depth) + 1e-9)), at)


def surface(x: Field, y: Field) -> tuple[Field, Field, Field]:
    """Height z of a mask over the plane of the eyes in millimetres, dz/dx and dz/dy."""
    ridge_x = np.exp(-((x / 21) ** 2))
    rise = np.clip((y - 8) / 34, 0, 1)
    fall = np.clip((y - 46) / 66, 0, 1)
    ridge = 20 * rise * (1 - 0.75 * fall)
    below = np.clip(y - 100, 0, 60)
    z = 4 - np.minimum(x**2 / 88, 46) + ridge * ridge_x - below**2 / 55
    slope_x = -np.clip(x / 44, -1.3, 1.3) - ridge * ridge_x * x / 220
    slope_y = ridge_x * (20 / 34 * ((rise > 0) & (rise < 1)) - 15 / 66 * ((fall > 0) & (fall < 1))) - below / 27
    return z.astype("f4"), slope_x.astype("f4"), slope_y.astype("f4")


def cut_patch(pose: Pose, outline: NDArray[np.float64], shape: tuple[int, ...]) -> Patch | None:
    """The pixels around outline and ears, each with its place on the head; None when all lie outside the picture."""
    ears = np.array([EAR_MM, EAR_MM * (-1, 1, 1)]) - (0, 30, 0)
    rim = np.column_stack([outline, surface(outline[:, 0], outline[:, 1])[0]])
    seen = pose.project(np.vstack([rim, ears]))
    pad = 10 * pose.scale + 2
    left, top = np.maximum(np.floor(seen.min(0) - pad), 0).astype(int)
    right, bottom = np.minimum(np.ceil(seen.max(0) + pad), (shape[1], shape[0])).astype(int)
    if right - left < 2 or bottom - top < 2:
        return None
    x, y = unproject(pose, np.arange(left, right), np.arange(top, bottom))
    _, slope_x, slope_y = surface(x, y)
    return Patch(int(left), int(top), x, y, pose.scale, (slope_x, slope_y))


def unproject(pose: Pose, columns: NDArray[np.int_], rows: NDArray[np.int_]) -> tuple[Field, Field]:
    """Millimetres (x, y) on the mask's surface behind each pixel, by fixed-point iteration."""
    back = np.linalg.inv(pose.plane)
    shift = pose.depth @ back
    px, py = np.meshgrid((columns - pose.at[0]).astype("f4"), (rows - pose.at[1]).astype("f4"))
    back, shift = back.astype("f4"), shift.astype("f4")
    flat_x, flat_y = px * back[0, 0] + py * back[1, 0], px * back[0, 1] + py * back[1, 1]
    x, y = flat_x, flat_y
    for _ in range(4 if float(np.abs(shift).max()) > 0.05 else 1):
        z = surface(x, y)[0]
        x, y = (x + flat_x - shift[0] * z) / 2, (y + flat_y - shift[1] * z) / 2
    return x.astype("f4"), y.astype("f4")


# The outline -------------------------------------------------------------------------------------------------------


def full_outline(half: tuple[tuple[float, float], ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """The closed, smooth outline (n, 2) in millimetres; each mask sits a little differently."""
    right = np.array(half) + rng.normal(0, 1.0, (len(half), 2)) * (1, 1)
    right[[0, -1], 0] = 0
    left = right[-2:0:-1] * (-1, 1) + rng.normal(0, 0.6, (len(half) - 2, 2))
    knots = np.vstack([right, left]) * rng.normal(1, 0.015) + (rng.normal(0, 1.0), rng.normal(0, 1.2))
    return smooth(knots)


def smooth(knots: NDArray[np.float64], steps: int = 8) -> NDArray[np.float64]:
    """A closed Catmull-Rom curve through the knots."""
    t = np.linspace(0, 1, steps, endpoint=False)[:, None, None]
    a, b, c, d = (np.roll(knots, shift, axis=0)[None] for shift in (1, 0, -1, -2))
    curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return np.asarray(curve.transpose(1, 0, 2).reshape(-1, 2))


def distance_inside(patch: Patch, outline: NDArray[np.float64]) -> Field:
    """About the distance to the outline in millimetres, positive inside."""
    away = outline - CENTRE_MM
    angle = np.arctan2(away[:, 1], away[:, 0])
    order = np.argsort(angle)
    grid = np.linspace(-np.pi, np.pi, 721)
    reach = np.interp(grid, angle[order], np.hypot(*away.T)[order], period=2 * np.pi)
    # A ray that meets the edge at a slant overstates the distance: divide by the slant.
    slant = np.hypot(1, np.gradient(reach, grid) / reach)
    x, y = patch.x - np.float32(CENTRE_MM[0]), patch.y - np.float32(CENTRE_MM[1])
    index = ((np.arctan2(y, x) + np.pi) * (720 / (2 * np.pi))).astype(np.intp)
    return np.asarray((reach.astype("f4")[index] - np.hypot(x, y)) / slant.astype("f4")[index])


# Light -------------------------------------------------------------------------------------------------------------


def face_light(under: Field, patch: Patch) -> Field:
    """How bright a white sheet would be at each pixel, 0.2 to 1.05: read off the skin, smoothly."""
    luma = under @ np.array([0.299, 0.587, 0.114], "f4")
    skin = ((patch.x / 62) ** 2 + ((patch.y - 40) / 78) ** 2 < 1).astype("f4")
    spread, bright = blurred(luma * skin, 20 * patch.scale), blurred(skin, 20 * patch.scale)
    mean = float((luma * skin).sum() / max(1.0, float(skin.sum())))
    lie = np.clip((spread + 12 * mean * 0.02) / (bright + 0.24 * 1.0) / max(mean, 1.0), 0.6, 1.18)
    level = np.clip(0.42 * mean / 150 + 0.58 * float(np.percentile(luma, 92)) / 215, 0.22, 1.05)
    return np.asarray(level * (0.25 + 0.75 * lie), np.float32)


def blurred(field: Field, radius_px: float) -> Field:
    """Gaussian blur, done small and enlarged: only used where nothing sharp is wanted."""
    h, w = field.shape
    shrink = max(1.0, radius_px / 3)
    size = (max(2, round(w / shrink)), max(2, round(h / shrink)))
    small = Pillow.fromarray(field.astype("f4")).resize(size, Pillow.Resampling.BOX)
    soft = convolved(convolved(np.asarray(small), bell(radius_px / shrink)).T, bell(radius_px / shrink)).T
    return np.asarray(Pillow.fromarray(np.ascontiguousarray(soft, "f4")).resize((w, h), Pillow.Resampling.BILINEAR))


def convolved(field: Field, weights: NDArray[np.float64]) -> Field:
    """Each column with the weights, its ends held."""
    padded = np.pad(field, ((6, 6), (0, 0)), mode="edge")
    return sum((weight * padded[k : k + field.shape[0]] for k, weight in enumerate(weights)), np.zeros_like(field))


def bell(sigma: float) -> NDArray[np.float64]:
    """A Gaussian that sums to 1."""
    x = np.arange(-6, 7)
    weights = np.exp(-((x / max(sigma, 0.3)) ** 2) / 2)
    return np.asarray(weights / weights.sum())


def shading(patch: Patch, inside: Field, style: Style, rng: np.random.Generator) -> Field:
    """Brightness of the fabric, about 1: light from above, the curve of the face, folds, hem."""
    sx, sy = patch.slope
    side, above = rng.normal(0, 0.22), rng.uniform(0.25, 0.5)
    facing = (1 - side * sx + above * sy) / np.sqrt(1 + sx**2 + sy**2)
    form = 0.42 + 0.58 * np.clip(facing, 0.1, 1.35)
    shine = style.gloss * np.clip(facing - 0.85, 0, 1) ** 2 * 4
    hem = 0.10 * patch.line(inside - 4.0, 0.8) + 0.16 * np.exp(-np.clip(inside, 0, 40) / 1.6)
    fabric: Field = form + shine + style.shade(patch, rng) + creases(patch, rng) - hem
    return np.clip(fabric, 0.12, 1.5).astype("f4")


def contact_shadow(patch: Patch, inside: Field) -> Field:
    """The mask darkens the skin beside it, more below than above."""
    strength = 0.16 + 0.26 * np.clip((patch.y - 60) / 50, 0, 1)
    return np.asarray(1 - strength * np.exp(np.minimum(inside, 0) / 3.2), np.float32)


def creases(patch: Patch, rng: np.random.Generator) -> Field:
    """Soft wrinkles that run from the straps inwards, and a few anywhere."""
    total = np.zeros_like(patch.x)
    for side in (-1, 1):
        dx, dy = side * 66 - patch.x, patch.y - np.float32(rng.uniform(55, 70))
        fan = np.sin(np.arctan2(dy, np.abs(dx) + 8) * np.float32(rng.uniform(7, 12)) + np.float32(rng.uniform(0, 6)))
        total += 0.085 * fan * np.exp(-np.hypot(dx, dy) / np.float32(rng.uniform(18, 30)))
    for _ in range(4):
        angle, x, y = rng.uniform(-0.7, 0.7), rng.uniform(-45, 45), rng.uniform(45, 105)
        across = (patch.y - y) * np.float32(np.cos(angle)) - (patch.x - x) * np.float32(np.sin(angle))
        near = np.exp(-((patch.x - x) ** 2 + (patch.y - y) ** 2) / np.float32(rng.uniform(150, 500)))
        step = across / np.float32(rng.uniform(2.5, 5))
        total += np.float32(rng.uniform(0.03, 0.08)) * near * step * np.exp(0.5 - step**2 / 2)
    return total


# Fabrics -----------------------------------------------------------------------------------------------------------


def pleats(patch: Patch, rng: np.random.Generator) -> Field:
    """Three folds across, opened over the mouth and gathered at the sides, a wire at the nose, stitched sides."""
    spread, middle = rng.uniform(14, 18), rng.uniform(68, 74)
    open_ = 1.15 - 0.35 * np.clip((patch.x / 56) ** 2, 0, 1.2)
    folds = np.zeros_like(patch.x)
    for k in (-1, 0, 1):
        below = patch.y - middle - np.float32(k * spread) * open_ - 2 * np.cos(patch.x / 30)
        folds -= np.where(below > 0, 0.20 * np.exp(-np.abs(below) / 3.0), 0.24 * patch.line(below, 0.9))
        folds += 0.07 * np.exp(-(((below + 4) / 3) ** 2))
    wire = 0.08 * patch.line(patch.y - 27 - (patch.x / 22) ** 2 * 4, 1.6) * (np.abs(patch.x) < 34)
    sides = -0.10 * patch.line(np.abs(patch.x) - 54, 0.8)
    return np.asarray(folds + wire + sides + 0.012 * patch.waves(patch.x + patch.y, 1.6))


def weave(patch: Patch, rng: np.random.Generator) -> Field:
    """A fitted cloth mask: a seam down the middle, a hem, threads."""
    seam = patch.x - np.float32(rng.normal(0, 1))
    threads = patch.waves(patch.x, 1.3) * 0.02 + patch.waves(patch.y, 1.3) * 0.02
    middle = -0.17 * patch.line(seam, 0.8) + 0.05 * patch.line(seam - 2.5, 1.6)
    return middle * np.float32(rng.integers(0, 2)) + threads + blotches(patch, rng, 26, 0.03)


def moulded(patch: Patch, rng: np.random.Generator) -> Field:
    """A stiff respirator: either a cup with an embossed rim and perhaps a valve, or folded down the middle."""
    grain = 0.015 * patch.waves(patch.x + patch.y, 2.2) + 0.015 * patch.waves(patch.x - patch.y, 2.2)
    if rng.random() < 0.5:
        fold = -0.14 * patch.line(patch.x, 0.9) + 0.09 * np.exp(-np.abs(patch.x) / 9) * np.sign(patch.x + 0.01)
        edge = -0.10 * patch.line(np.hypot(patch.x / 1.05, (patch.y - 72) * 1.02) - 46, 0.8)
        return np.asarray(fold + edge + grain)
    ring = np.hypot(patch.x / 1.05, (patch.y - 70) * 0.98)
    cup = 0.14 * np.cos(np.clip(ring / 46, 0, 1.5) * 2.2) - 0.16 * patch.line(ring - 43, 1.3)
    return np.asarray(cup + 0.07 * patch.line(ring - 40, 1.5) + grain + valve(patch, rng))


def valve(patch: Patch, rng: np.random.Generator) -> Field:
    """A square breathing valve on one side of the mouth, on half of the cups."""
    if rng.random() < 0.5:
        return np.zeros_like(patch.x)
    x, y = patch.x - np.float32(rng.choice((-1, 1)) * 17), patch.y - 76
    side = np.maximum(np.abs(x), np.abs(y)) - 10
    slots = patch.waves(y, 4.5) * (side < -2)
    return np.asarray(-0.22 * patch.line(side, 1.2) + 0.05 * (side < 0) + 0.06 * slots)


def knit(patch: Patch, rng: np.random.Generator) -> Field:
    """A scarf: heavy folds that hang around the neck, ribs of wool."""
    sag = patch.y - 0.0045 * np.float32(rng.uniform(-1, 1.4)) * patch.x**2
    wander = blotches(patch, rng, 45, 10.0)
    heavy = 0.17 * np.sin((sag + wander) / np.float32(rng.uniform(5.5, 8))) * np.clip((patch.y - 35) / 45, 0.15, 1)
    small = 0.05 * np.sin((sag + 0.5 * wander + 0.4 * patch.x) / 2.7)
    return np.asarray(heavy + small + 0.03 * patch.waves(sag, 2.4) + 0.03 * patch.waves(patch.x, 2.8))


def blotches(patch: Patch, rng: np.random.Generator, size_mm: float, strength: float) -> Field:
    """Smooth random unevenness."""
    total = np.zeros_like(patch.x)
    for angle in rng.uniform(0, np.pi, 4):
        along = patch.x * np.float32(np.cos(angle)) + patch.y * np.float32(np.sin(angle))
        period = size_mm * rng.uniform(0.6, 1.5)
        total += np.sin(along * np.float32(2 * np.pi / period) + np.float32(rng.uniform(0, 6))) * np.float32(
            strength / 2
        )
    return total


def dye(patch: Patch, colour: NDArray[np.float32], style: Style, rng: np.random.Generator) -> Field:
    """(h, w, 3) colour of the fabric under full light."""
    plain = np.broadcast_to(colour, (*patch.x.shape, 3))
    if not style.figured:
        return plain
    ink = np.array(PLAIN[rng.integers(len(PLAIN))], np.float32) * np.float32(rng.uniform(0.3, 1.2))
    if float(np.abs(ink - colour).max()) < 60:
        ink = 255 - colour
    return np.asarray(plain + (ink - plain) * print_on(patch, rng)[..., None])


def print_on(patch: Patch, rng: np.random.Generator) -> Field:
    """Where the pattern's ink is, 0 to 1: stripes, dots, checks or blotches, bent with the cheeks."""
    x, y = 48 * np.tanh(patch.x / 48) * 1.2, patch.y
    turn = rng.uniform(0, np.pi)
    u = (x * np.cos(turn) + y * np.sin(turn)) * np.float32(2 * np.pi / rng.uniform(7, 18))
    v = (y * np.cos(turn) - x * np.sin(turn)) * np.float32(2 * np.pi / rng.uniform(7, 18))
    choice = rng.integers(4)
    if choice == 0:
        height = np.sin(u)
    elif choice == 1:
        height = np.cos(u) + np.cos(v) - 1.0
    elif choice == 2:
        return (soft_step(np.sin(u)) + soft_step(np.sin(v))) / 2
    else:
        height = blotches(patch, rng, rng.uniform(12, 24), 1.0)
    return soft_step(height)


def soft_step(height: Field) -> Field:
    """0 below zero, 1 above, soft between."""
    return np.clip(0.5 + height * 4, 0, 1).astype("f4")


# Straps ------------------------------------------------------------------------------------------------------------


def tie(
    over: Field,
    pose: Pose,
    patch: Patch,
    outline: NDArray[np.float64],
    style: Style,
    colour: NDArray[np.float32],
    rng: np.random.Generator,
) -> Field:
    """Draw the straps to the ears; one that goes behind the turned head is left out."""
    if not style.straps:
        return over
    many = 4 if pose.scale < 4 else 1
    sheet = Pillow.new("L", (patch.x.shape[1] * many, patch.x.shape[0] * many))
    pen = ImageDraw.Draw(sheet)
    width = max(1, round(rng.uniform(2.2, 3.2) * pose.scale * many))
    for side in (-1, 1):
        for start, end in style.straps:
            path = strap(outline, side, start, end + rng.normal(0, 1.5))
            pixels = (pose.project(path) - (patch.left, patch.top)) * many
            if side * (pixels[-1] - pixels[0]) @ pose.plane[0] > 5 * many * (pose.plane[0] @ pose.plane[0]):
                pen.line([(float(a), float(b)) for a, b in pixels], fill=255, width=width, joint="curve")
    rows, columns = patch.x.shape
    thin = sheet.resize((columns, rows), Pillow.Resampling.BOX).filter(ImageFilter.GaussianBlur(0.4))
    cover = np.asarray(thin, np.float32)[..., None] / 255
    shade = blurred(cover[..., 0], 1.5 * pose.scale)[..., None]
    return np.asarray(over * (1 - 0.3 * shade) * (1 - cover) + np.clip(colour * 0.85, 0, 255) * cover, np.float32)


def strap(outline: NDArray[np.float64], side: int, start_y: float, end_y: float) -> NDArray[np.float64]:
    """(n, 3) millimetres: from the mask's side at a height, sagging a little, to the ear."""
    edge = outline[np.sign(outline[:, 0]) == side]
    x, y = edge[np.argmin(np.abs(edge[:, 1] - start_y) - 0.5 * np.abs(edge[:, 0]))]
    begin = np.array([x - side * 2, y, float(surface(np.array([x]), np.array([y]))[0][0])])
    end = EAR_MM * (side, 1, 1) + (0, end_y, 0)
    t = np.linspace(0, 1, 9)[:, None]
    return np.asarray(begin + (end - begin) * t + np.array([side * 3.0, 2.0, 0]) * np.sin(np.pi * t))


# The kinds ---------------------------------------------------------------------------------------------------------

FLAT = ((0, 17), (11, 22), (26, 33), (44, 38), (57, 41), (60, 60), (57, 84), (46, 103), (26, 117), (0, 121))
FITTED = ((0, 18), (10, 23), (24, 35), (42, 41), (60, 45), (64, 58), (57, 80), (44, 100), (24, 115), (0, 119))
CUP = ((0, 13), (12, 19), (26, 31), (40, 42), (50, 58), (53, 76), (48, 94), (36, 110), (18, 120), (0, 123))
LOW = ((0, 53), (12, 53), (28, 52), (45, 52), (57, 53), (60, 66), (57, 88), (46, 106), (26, 119), (0, 123))
WRAP = ((0, 23), (14, 27), (34, 38), (54, 46), (68, 56), (73, 78), (72, 104), (72, 130), (64, 156), (0, 168))


def choose_style(kind: str, rng: np.random.Generator) -> Style:
    """The style of a kind; where a kind comes in several makes, one of them."""
    loops = ((44.0, -8.0), (86.0, 18.0))
    if kind == "n95":
        return Style(CUP, WHITE, moulded, ((48.0, -14.0), (90.0, 14.0)), gloss=0.15)
    if kind == "scarf":
        return Style(WRAP, PLAIN + DARK, knit, ())
    if kind == "surgical" or (kind == "below_nose" and rng.random() < 0.6):
        return Style(LOW if kind == "below_nose" else FLAT, SURGICAL, pleats, loops, gloss=0.1)
    shape = LOW if kind == "below_nose" else FITTED
    return Style(shape, DARK if kind == "dark" else PLAIN, weave, loops, figured=kind == "patterned")
