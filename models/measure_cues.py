"""Measure the cues over time on real clips: how often does each call a living person, and an attack, an attack?

`python models/measure_cues.py DIR [--every 0.2] [--seconds 4]` with DIR/<species>/{live,attack}/: video files, or
stills named <visit>_<frame>.jpg, whose numbers are frames of 25 a second. A visit is so many seconds of one clip, or
all stills of one name up to the policy's looks; it is looked at as the gate looks at it. Prints for each species how
many visits gave the cue anything to measure and how many it called an attack, with Clopper and Pearson's 95 % bounds;
then what was measured of each visit. What models/LIVENESS_CUES.md says was printed by this.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from itertools import groupby
from math import comb
from pathlib import Path

from maskgate import config, cues, faces, look
from maskgate.cues import Cue, Says, Trail
from maskgate.pixels import Picture, load_photo

LORES = (640, 480)
STILLS_A_SECOND = 25
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v")


def stills(folder: Path, looks: int) -> Iterator[tuple[str, list[tuple[float, Picture]]]]:
    """Yield each visit that is a run of stills: its name, and its pictures with their time, s."""

    def visit(path: Path) -> str:
        return path.stem.rpartition("_")[0]

    def number(path: Path) -> int:
        return int(path.stem.rpartition("_")[2])

    for name, paths in groupby(sorted(folder.glob("*_*.jpg"), key=visit), key=visit):
        ordered = sorted(paths, key=number)[:looks]
        yield name, [(number(path) / STILLS_A_SECOND, load_photo(path)) for path in ordered]


def clips(folder: Path, every_s: float, seconds: float) -> Iterator[tuple[str, list[tuple[float, Picture]]]]:
    """Yield each stretch of each video: its name, and a picture every so often."""
    import av

    for path in sorted(path for path in folder.iterdir() if path.suffix.lower() in VIDEOS):
        due, stretch, begin_s = 0.0, [], 0.0
        with av.open(str(path)) as video:
            for frame in video.decode(video=0):
                if frame.time is None or frame.time < due:
                    continue
                due = frame.time + every_s
                if frame.time - begin_s >= seconds:
                    yield f"{path.stem} at {begin_s:.0f} s", stretch
                    stretch, begin_s = [], frame.time
                stretch.append((frame.time, Picture.from_rgb(frame.to_ndarray(format="rgb24"))))
        yield f"{path.stem} at {begin_s:.0f} s", stretch


def judged(pictures: list[tuple[float, Picture]], networks: faces.Faces) -> tuple[int, Cue]:
    """Return how many usable looks a visit gave, and what `carried` said of them."""
    gallery, bounds, trail, looks = networks.gallery([]), look.bounds_of(config.Quality()), Trail(), 0
    for at_s, picture in pictures:
        scale = min(LORES[0] / picture.size[0], LORES[1] / picture.size[1], 1.0)
        small = Picture.from_rgb(picture.fit((round(picture.size[0] * scale), round(picture.size[1] * scale)))[0])
        seen = look.sight(networks, gallery, picture, small, at_s=at_s, bounds=bounds)
        if seen is not None and seen.usable:
            trail, looks = cues.follow(trail, seen), looks + 1
    return looks, cues.carried(trail)


def told(rate: tuple[int, int]) -> str:
    """Word hits of n with bounds."""
    hits, n = rate
    if not n:
        return "0 of 0"
    low = 0.0 if hits == 0 else crossing(lambda p: 1 - at_most(hits - 1, n, p) - 0.025)
    high = 1.0 if hits == n else crossing(lambda p: 0.025 - at_most(hits, n, p))
    return f"{hits} of {n} ({hits / n:.1%}, {low:.1%} to {high:.1%})"


def at_most(hits: int, n: int, p: float) -> float:
    """Return the probability of at most `hits` of `n`, each with probability `p`."""
    return sum(comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(hits + 1))


def crossing(rising: Callable[[float], float]) -> float:
    """Return where a function that rises between 0 and 1 is zero."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2


def main() -> None:
    """Measure every species of a folder."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", type=Path)
    options.add_argument("--every", type=float, default=0.2, help="seconds between two looks at a video")
    options.add_argument("--seconds", type=float, default=4.0, help="length of a visit in a video")
    asked = options.parse_args()
    networks = faces.load(config.installed_models(), threads=1)
    for side in sorted(path for path in asked.folder.glob("*/*") if path.name in ("live", "attack")):
        visits = [*stills(side, config.Policy().looks), *clips(side, asked.every, asked.seconds)]
        found = [(name, *judged(pictures, networks)) for name, pictures in visits]
        found = [(name, looks, cue) for name, looks, cue in found if looks >= cues.ENOUGH]
        measured = [cue for _, _, cue in found if cue.value is not None]
        attacks = sum(cue.says is Says.ATTACK for cue in measured)
        print(
            f"{side.parent.name} {side.name}: carried could be measured in {told((len(measured), len(found)))} visits"
        )
        print(
            f"    called an attack: {told((attacks, len(found)))}; of those measured {told((attacks, len(measured)))}"
        )
        for name, looks, cue in found:
            print(f"    {name}: {looks} looks, {'nothing' if cue.value is None else format(cue.value, '.2f')}")


if __name__ == "__main__":
    main()
