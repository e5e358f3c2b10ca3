"""Measure what the gate costs here: per frame, per search, at rest, and to start. Records and drives nothing.

It measures the gate's own code (`look.sight`, `run.attend`) on frames in memory: what the camera and its driver take is
not in it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maskgate import __version__
from maskgate.admin.checks import Machine, celsius
from maskgate.admin.screen import json_line, table
from maskgate.admin.session import Session, load_faces

if TYPE_CHECKING:
    from maskgate import config
    from maskgate.camera import Frame
    from maskgate.faces import Faces
    from maskgate.match import Gallery
    from maskgate.pixels import Picture

EVERYDAY = 1_000
"""Templates in the gallery that frames are matched against."""
SIZES = (100, 1_000, 10_000, 50_000)
IDLE_FPS = 15.0
STARTS = 3
"""Fresh processes are measured so often, and the cheapest counts: other work on the machine only ever adds."""
SHIPPED = "tests/data/people/Noah/close.jpg"
"""The photo that is laid into the frame when none is named, relative to the checkout."""


@dataclass(frozen=True, slots=True)
class Scene:
    """The frame that everything is measured on."""

    main: Picture
    lores: Picture
    origin: str
    """Where it came from."""


@click.command()
@click.option("--image", type=click.Path(path_type=Path), help="The photo to measure with, fitted into the frame.")
@click.option("--frames", type=click.IntRange(3), default=100, show_default=True, help="How many frames to look at.")
@click.option("--idle", "idle_s", type=click.FloatRange(1), default=5.0, show_default=True, help="Seconds at rest.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--submit-text", "submit", is_flag=True, help="The block to paste into docs/BENCHMARKS.md.")
@click.pass_obj
def bench(session: Session, image: Path | None, frames: int, idle_s: float, as_json: bool, submit: bool) -> None:
    """Measure milliseconds per stage, memory, start-up, searches and the cost of an idle gate."""
    if as_json and submit:
        raise click.UsageError("--json and --submit-text are two forms of one answer; choose one")
    settings = session.settings_if_any()
    # First: networks that cannot be loaded are one line here, and would be a traceback in a fresh process below.
    faces = load_faces(settings)
    scene = _scene(image, settings.camera)
    measured = {
        "version": __version__,
        **_machine(),
        "runtime": faces.runtime,
        "threads": settings.models.threads,
        "models": faces.digests,
        "image": scene.origin,
        "main": list(scene.main.size),
        "lores": list(scene.lores.size),
        **_looks(faces, scene, settings, frames),
        # Before the large galleries, which no gate holds.
        "peak_rss_mb": _peak_rss_mb(),
        **_starts(settings),
        "idle": _idle(faces, scene, settings, idle_s),
        "gallery_ms": _searches(faces),
    }
    if as_json:
        json_line(measured)
    elif submit:
        click.echo(_submission(measured))
    else:
        _print(measured)


# -- what is measured on -------------------------------------------------------------------------------------------


def _machine() -> dict[str, Any]:
    """Name the computer and its Python."""
    import platform

    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "machine": platform.machine(),
        "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1_000_000,
        "system": _system(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "celsius": celsius(Machine()),  # a hot board is a slow one
    }


def _system() -> str:
    """Name the operating system."""
    import platform

    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return "unknown system"


def _cpu() -> str:
    """Return the board's model, or the processor's; "unknown" where the kernel names neither."""
    board = Path("/proc/device-tree/model")
    if board.exists():
        return board.read_text(errors="replace").strip("\0\n")
    for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown"


def _scene(image: Path | None, camera: config.Camera) -> Scene:
    """Make a camera's frame of a photo, or of noise where no photo is at hand: then there is no face to embed."""
    import numpy as np

    from maskgate.pixels import Picture, load_photo

    shipped = Path(__file__).resolve().parents[3] / SHIPPED
    chosen = image or (shipped if shipped.exists() else None)
    if chosen is None:
        noise = np.random.default_rng(0).integers(0, 256, (camera.size[1], camera.size[0], 3), np.uint8)
        photo, origin = Picture.from_rgb(noise), "noise: no photo was named or shipped, no face is in it"
    else:
        photo, origin = load_photo(chosen), str(chosen)
    return Scene(_frame(photo, camera.size), _frame(photo, camera.lores), origin)


def _frame(photo: Picture, size: tuple[int, int]) -> Picture:
    """Fit a photo into a frame of camera planes, as the Pi's camera delivers them."""
    import numpy as np
    from PIL import Image

    from maskgate.pixels import Picture

    y, u, v = Image.fromarray(photo.fit(size)[0]).convert("YCbCr").split()
    half = ((size[0] + 1) // 2, (size[1] + 1) // 2)
    return Picture.from_yuv(np.asarray(y), *(np.asarray(plane.resize(half, Image.Resampling.BOX)) for plane in (u, v)))


def _strangers(faces: Faces, templates: int) -> Gallery:
    """Return a gallery of random unit vectors, one a subject: searching costs the same as among real ones."""
    import numpy as np

    from maskgate.values import Template

    vectors = np.random.default_rng(1).normal(size=(templates, 128)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return faces.gallery([Template(f"{number:06}", vector, "0" * 64) for number, vector in enumerate(vectors)])


def _peak_rss_mb() -> float:
    """Return the most memory this process has held so far, megabytes."""
    import resource

    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


# -- a frame with a face -------------------------------------------------------------------------------------------


def _looks(faces: Faces, scene: Scene, settings: config.Settings, frames: int) -> dict[str, Any]:
    """Look at the same frame many times; return milliseconds by stage and in all."""
    from maskgate import look
    from maskgate.run import warm_up

    gallery, bounds = _strangers(faces, EVERYDAY), look.bounds_of(settings.quality)
    warm_up(faces, settings.camera)
    rounds: list[dict[str, float]] = []
    for _ in range(frames):
        stages, start_s = look.Stages(), time.perf_counter()
        seen = look.sight(faces, gallery, scene.main, scene.lores, at_s=0.0, bounds=bounds, stages=stages)
        rounds.append(stages.ms | {"total": (time.perf_counter() - start_s) * 1000})
    total = sum(spent["total"] for spent in rounds)
    return {
        "face": seen is not None,
        "usable": seen is not None and seen.usable,
        "gallery": EVERYDAY,
        "frames": frames,
        "stages": {stage: _spread([spent[stage] for spent in rounds], total) for stage in rounds[0]},
        "fps": round(1000 * frames / total, 2),
    }


def _spread(ms: Sequence[float], total: float) -> dict[str, float]:
    """Return median, 95th percentile and largest of `ms`, and their share of `total`."""
    import numpy as np

    return {
        "p50": round(float(np.percentile(ms, 50)), 3),
        "p95": round(float(np.percentile(ms, 95)), 3),
        "max": round(max(ms), 3),
        "share": round(sum(ms) / total, 4),
    }


def _searches(faces: Faces) -> dict[str, float]:
    """Return the median milliseconds of one search by gallery size."""
    import numpy as np

    from maskgate.values import Cover

    found = {}
    for size in SIZES:
        gallery, ms = _strangers(faces, size), []
        probe = np.zeros(128, np.float32)
        probe[0] = 1
        for _ in range(30):
            start_s = time.perf_counter()
            gallery.search(probe, Cover.BARE)
            ms.append((time.perf_counter() - start_s) * 1000)
        found[str(size)] = round(float(np.median(ms)), 3)
    return found


# -- at rest -------------------------------------------------------------------------------------------------------


class Still:
    """A camera before which nothing happens: one scene with fresh sensor noise, at its own pace."""

    def __init__(self, scene: Scene, until_s: float) -> None:
        """Show `scene` up to the monotonic time `until_s`."""
        import numpy as np

        self._scene, self._until_s = scene, until_s
        y, *rest = scene.lores.planes
        random = np.random.default_rng(2)
        # Drawn beforehand: making noise is the bench's cost, not the gate's.
        noisy = (np.clip(y + random.normal(0, 2, y.shape), 0, 255).astype(np.uint8) for _ in range(8))
        self._lores = [type(scene.lores)((plane, *rest)) for plane in noisy]

    def clock(self) -> float:
        """Return the monotonic clock."""
        return time.monotonic()

    def frames(self) -> Iterator[Frame]:
        """Yield frames IDLE_FPS apart."""
        from maskgate.camera import Frame

        count, start_s = 0, time.monotonic()
        while (now_s := time.monotonic()) < self._until_s:
            yield Frame(now_s, self._scene.main, self._lores[count % len(self._lores)])
            count += 1
            time.sleep(max(0.0, start_s + count / IDLE_FPS - time.monotonic()))


def _idle(faces: Faces, scene: Scene, settings: config.Settings, wanted_s: float) -> dict[str, Any]:
    """Run the loop before an empty, still scene, with a real gallery file; return what it takes and writes."""
    import tempfile

    import numpy as np

    from maskgate.pixels import Picture
    from maskgate.run import Roster, attend
    from maskgate.store import open_store

    grey = tuple(np.full_like(plane, 128) for plane in scene.main.planes)
    small = tuple(np.full_like(plane, 128) for plane in scene.lores.planes)
    empty = Scene(Picture(grey), Picture(small), "")
    settle_s = settings.camera.awake_s + 1
    with tempfile.TemporaryDirectory() as folder, open_store(Path(folder) / "gallery.db", create=True) as store:
        roster = Roster(store, faces, settings)
        camera = Still(empty, time.monotonic() + settle_s + wanted_s)
        begin: tuple[float, float, int] | None = None
        frames = awake = 0
        asleep_s = time.monotonic() + settle_s
        for moment in attend(camera, faces=faces, roster=roster, settings=settings, carry_out=lambda made, _: made):
            if begin is None and time.monotonic() >= asleep_s:
                begin = (time.monotonic(), time.process_time(), _written())
            elif begin is not None:
                frames += 1
                awake += moment.awake
        assert begin is not None  # the camera runs for `wanted_s` after the moment it is set
        spent_s, cpu_s = time.monotonic() - begin[0], time.process_time() - begin[1]
        written = _written() - begin[2]
    return {
        "seconds": round(spent_s, 2),
        "frames": frames,
        "awake_frames": awake,
        "cpu_share": round(cpu_s / spent_s, 4),
        "bytes_written": written,
    }


def _written() -> int:
    """Return how many bytes this process has handed to write(), so far; cached or not."""
    for line in Path("/proc/self/io").read_text().splitlines():
        if line.startswith("wchar:"):
            return int(line.split()[1])
    raise RuntimeError("/proc/self/io has no wchar")


# -- to start ------------------------------------------------------------------------------------------------------

_IMPORT = "import maskgate.run"
_COLD = """
import sys
from pathlib import Path
from maskgate import config, faces, run
loaded = faces.load(Path(sys.argv[1]), threads=int(sys.argv[2]))
run.warm_up(loaded, config.Camera(lores=(int(sys.argv[3]), int(sys.argv[4]))))
"""
_HELP = "import sys; sys.argv[1:] = ['--help']; from maskgate.admin import main; main()"


def _starts(settings: config.Settings) -> dict[str, Any]:
    """Measure fresh processes: imports, all up to the first frame, and `--help`; seconds of CPU and of the clock."""
    models, lores = settings.models, settings.camera.lores
    return {
        "import_s": _fresh(_IMPORT),
        "cold_start_s": _fresh(_COLD, models.path, models.threads, *lores),
        "help_s": _fresh(_HELP),
    }


def _fresh(program: str, *args: object) -> dict[str, float]:
    """Run a Python program a few times; return what the cheapest run took, the interpreter's own start included."""
    return min((_run_once(program, *args) for _ in range(STARTS)), key=lambda spent: spent["cpu"])


def _run_once(program: str, *args: object) -> dict[str, float]:
    """Run a Python program; return its seconds of CPU and of the clock."""
    import resource
    import subprocess

    before, start_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", program, *map(str, args)],
        check=True,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    wall_s, after = time.perf_counter() - start_s, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu": round(cpu_s, 3), "wall": round(wall_s, 3)}


# -- for people ----------------------------------------------------------------------------------------------------


def _print(measured: dict[str, Any]) -> None:
    """Say it to a person."""
    click.echo(f"{measured['cpu']}, {measured['cores']} cores, Python {measured['python']}")
    click.echo(f"{measured['runtime']}, {measured['threads']} threads")
    click.echo(f"{measured['image']}: {measured['main']}, looked at in {measured['lores']}\n")
    rows = [(name, s["p50"], s["p95"], s["max"], f"{s['share']:.1%}") for name, s in measured["stages"].items()]
    table(("stage", "p50 ms", "p95 ms", "max ms", "share"), rows)
    idle = measured["idle"]
    click.echo(f"\n{measured['fps']} frames a second with a face, peak memory {measured['peak_rss_mb']} MB")
    for name, words in (("import_s", "imports"), ("cold_start_s", "up to the first frame"), ("help_s", "--help")):
        click.echo(f"{words}: {measured[name]['cpu']} s of CPU, {measured[name]['wall']} s in all")
    rest = f"{idle['cpu_share']:.1%} of a core, {idle['bytes_written']} bytes written"
    click.echo(f"at rest, {IDLE_FPS:g} frames a second: {rest}")
    for size, ms in measured["gallery_ms"].items():
        click.echo(f"search among {int(size):,} templates: {ms} ms")


def _submission(measured: dict[str, Any]) -> str:
    """Word it for docs/BENCHMARKS.md: a table row, and beneath it what is needed to compare it with others."""
    from datetime import UTC, datetime

    stages, idle, hot = measured["stages"], measured["idle"], measured["celsius"]
    row = (
        measured["cpu"],
        f"{stages['total']['p50']:.0f}; {stages['total']['p95']:.0f}",
        f"{measured['fps']:.1f}",
        f"{measured['peak_rss_mb']:.0f}",
        f"{measured['cold_start_s']['wall']:.1f}",
        f"{idle['cpu_share']:.1%}",
        f"{measured['gallery_ms']['10000']:.1f}",
        measured["version"],
    )
    spent = ", ".join(f"{name} {spread['p50']:.1f}" for name, spread in stages.items() if name != "total")
    facts = [
        f"measured on {datetime.now(UTC):%Y-%m-%d}, {measured['frames']} frames with a face: {measured['face']}",
        f"{measured['system']}, {measured['kernel']}, {measured['memory_mb']} MB, {measured['cores']} cores",
        f"Python {measured['python']}, {measured['runtime']}, {measured['threads']} threads",
        f"frame {'x'.join(map(str, measured['main']))}, looked at in {'x'.join(map(str, measured['lores']))}",
        f"temperature at the end {'not told' if hot is None else f'{hot:.0f} C'}",
        f"median ms by stage: {spent}",
        *(f"{role} {digest[:16]}" for role, digest in measured["models"].items()),
    ]
    return "\n".join(
        [
            f"| {' | '.join(row)} |",
            "",
            "<details><summary>conditions</summary>",
            "",
            *(f"- {fact}" for fact in facts),
            "",
            "</details>",
        ]
    )
