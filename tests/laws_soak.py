"""The law of a long run: a million frames through the production loop, and neither memory nor descriptors grow.

Real networks, real store, simulated pins. Most frames are of a still scene, where the loop infers nothing, as at a real
gate; now and then a resident or a stranger stands before it for a few frames. The camera is a clock without waiting.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
EVERY = 5_000
"""Frames from one visit to the next."""
STAYS = 6
FPS = 15.0
MOST_GROWTH_KIB = 2048


class Passage:
    """A camera: an empty scene with a little noise, and every so often somebody in it."""

    def __init__(self, frames: int, visitors: list[object]) -> None:
        from films import wall

        self._frames, self._now_s = frames, 0.0
        self._still = [self._streams(wall(seed)) for seed in range(4)]
        self._visitors = [self._streams(np.asarray(visitor)) for visitor in visitors]

    @staticmethod
    def _streams(image: np.ndarray) -> tuple[object, object]:
        """Return what a camera gives of a scene: the main stream and one of half its size."""
        from PIL import Image

        from maskgate.pixels import Picture

        def planes(picture: Image.Image) -> object:
            y, u, v = picture.convert("YCbCr").split()
            half = (y.width // 2, y.height // 2)
            return Picture.from_yuv(np.asarray(y), np.asarray(u.resize(half)), np.asarray(v.resize(half)))

        main = Image.fromarray(image)
        return planes(main), planes(main.reduce(2))

    def clock(self) -> float:
        return self._now_s

    def frames(self) -> Iterator[object]:
        from maskgate.camera import Frame

        for number in range(self._frames):
            self._now_s = number / FPS
            visit, at = divmod(number, EVERY)
            if EVERY // 2 <= at < EVERY // 2 + STAYS:
                main, small = self._visitors[visit % len(self._visitors)]
            else:
                main, small = self._still[number % len(self._still)]
            yield Frame(self._now_s, main, small, "soak")  # type: ignore[arg-type]


def run(frames: int) -> dict[str, object]:
    """Attend to so many frames in this process; returns what it held of memory (KiB), descriptors and threads."""
    import msgspec

    from films import scene
    from maskgate import config, look
    from maskgate.chores import Album, Chores
    from maskgate.faces import load
    from maskgate.gate import open_gate
    from maskgate.pixels import load_photo
    from maskgate.run import Hands, Roster, attend
    from maskgate.store import open_store
    from people import DATA, head

    logging.disable(logging.INFO)
    faces = load(config.installed_models(), threads=1)
    bounds = look.bounds_of(config.Quality())
    views = {name: look.portrait(faces, load_photo(DATA / name), bounds, of=name) for name in _PHOTOS}
    visitors = [scene(head(DATA / name, views[name].face.box), 400) for name in _PHOTOS[1:]]
    with tempfile.TemporaryDirectory() as folder:
        raw = {
            "gate": {"pins": "simulated", "unlock_s": 0.2},
            "store": {"path": f"{folder}/gallery.db", "keep_days": 30, "snapshots": "all", "snapshots_mib": 1},
            "camera": {"awake_s": 0.5, "size": [640, 480], "lores": [320, 240]},
        }
        settings = config.parse(raw, Path(folder) / "maskgate.toml")
        with (
            open_gate(settings.gate) as gate,
            open_store(settings.store.path, key=settings.store.key, create=True) as store,
        ):
            probe = views[_PHOTOS[0]].probe
            assert probe is not None
            store.enrol("Obama", [(probe, {})], model=faces.embedder, source="photo", actor="soak")
            hands = Hands(store, gate, settings.policy, Album(store, settings.store))
            roster, chores = Roster(store, faces, settings), Chores(store, keep_days=30)
            camera = Passage(frames, visitors)
            held: list[tuple[int, int, int]] = []
            decisions = number = 0
            for moment in attend(
                camera,  # type: ignore[arg-type]
                faces=faces,
                roster=roster,
                settings=msgspec.structs.replace(settings),
                carry_out=hands.carry_out,
            ):
                number += 1
                decisions += moment.decision is not None
                chores.look(camera.clock())
                if number % max(1, frames // 40) == 0:
                    held.append(measured())
            return {"frames": number, "decisions": decisions, "held": held, "events": store.count()}


_PHOTOS = ("Obama/enrol.jpg", "Obama/blue_room.jpg", "Biden/blue_room.jpg")


def measured() -> tuple[int, int, int]:
    """Resident memory in KiB, open descriptors and threads of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return (
        pages * os.sysconf("SC_PAGESIZE") // 1024,
        len(os.listdir("/proc/self/fd")),
        len(os.listdir("/proc/self/task")),
    )


def soak(frames: int) -> int:
    """Run so many frames in a process of its own and hold the law against what it held; returns the frames."""
    done = subprocess.run(
        [sys.executable, __file__, str(frames)],
        env=os.environ | {"PYTHONPATH": f"{HERE}:{HERE.parent / 'daemon'}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["frames"] == frames
    assert told["decisions"] >= frames // EVERY // 2, told["decisions"]
    warm = told["held"][len(told["held"]) // 4 :]
    growth = max(memory for memory, _, _ in warm) - warm[0][0]
    print(
        f"    {told['decisions']} decisions; RSS {warm[0][0]} KiB warm, {growth:+} KiB at most afterwards; "
        f"{warm[0][1]} descriptors, {warm[0][2]} threads",
        flush=True,
    )
    assert growth <= MOST_GROWTH_KIB, [memory for memory, _, _ in told["held"]]
    assert max(fds for _, fds, _ in warm) <= warm[0][1] + 1
    assert max(threads for *_, threads in warm) <= warm[0][2] + 1  # gpiozero's timer of one opening comes and goes
    return frames


def idle(hours: float) -> int:
    """Let a gate that was busy have nothing to do for so long; returns how often it looked whether there is something.

    The store is asked as the loop asks it: twice a second whether the gallery has changed, once a minute what is to do
    for the log. The kernel counts the calls and bytes of write(), pwrite() and the like.
    """
    from maskgate.chores import LOOK_S, Chores
    from maskgate.run import REFRESH_S
    from maskgate.store import Event, open_store

    with tempfile.TemporaryDirectory() as folder, open_store(f"{folder}/gallery.db", create=True) as store:
        for _ in range(20):
            store.record(Event("decision"))
        chores = Chores(store, keep_days=365)
        chores.look(0.0)
        store.version()
        before, looks = written(), int(hours * 3600 / REFRESH_S)
        for number in range(1, looks + 1):
            store.version()
            if number * REFRESH_S % LOOK_S == 0:
                chores.look(number * REFRESH_S)
        assert written() == before, f"{written()} instead of {before} calls, bytes and bytes to the disk"
        store.record(Event("decision"))
        assert written() != before
    return looks


def written() -> tuple[int, ...]:
    """Calls that write, bytes given to them, and bytes sent to the disk, by this process so far."""
    counts = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(counts["syscw"]), int(counts["wchar"]), int(counts["write_bytes"])


def laws(share: float = 1.0) -> Iterable[tuple[str, Callable[[], int]]]:
    """Each law in words, and what tries it."""
    yield (
        "a long run grows by no more than 2 MB after a quarter of it, and by no descriptor or thread (frames)",
        lambda: soak(max(20_000, int(1_000_000 * share))),
    )
    yield "in a day without visitors nothing is written: no byte, no call (looks)", lambda: idle(24)


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]))))
