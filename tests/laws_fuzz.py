"""Laws of every parser that sees bytes from outside: whatever they are, one line is said and nothing is lost.

Bytes are good ones with some of them changed, cut off, repeated, put elsewhere, or replaced by what hypothesis likes.
`make prove` tries thousands for each parser; `test_fuzz.py` a share.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import tomli_w
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from house import House
from ledgers import write_log
from maskgate import backup, config, faces
from maskgate.admin import enrolling
from maskgate.chain import anchors_in
from maskgate.keys import Keys
from maskgate.pixels import load_photo
from maskgate.store import Event, open_store
from maskgate.values import MaskgateError, StoreError

MODEL = "a" * 64
SECRET = b"correct horse battery"
ROOT = Path(__file__).parents[1]
COMMANDS = (
    ("people",),
    ("log",),
    ("log", "--csv"),
    ("log", "--json", "--person", "Ada"),
    ("log", "verify"),
    ("show", "Ada"),
)

_INTERESTING = (
    b"",
    b"\0",
    b"\xff" * 4,
    b"\x7f\xff\xff\xff",
    b"\r\n",
    b'"',
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
    b"../",
    b"%s",
)
edits = st.lists(
    st.tuples(
        st.sampled_from(("flip", "put", "cut", "repeat", "move", "end")),
        st.floats(0, 1),
        st.floats(0, 1),
        st.binary(max_size=24) | st.sampled_from(_INTERESTING),
    ),
    min_size=1,
    max_size=6,
)


def edited(good: bytes, changes: Sequence[tuple[str, float, float, bytes]]) -> bytes:
    """Carry edits out; where and how much are shares of the length, as lengths change."""
    data = bytearray(good)
    for what, where, much, new in changes:
        at = int(where * len(data))
        upto = at + int(much * much * much * (len(data) - at))
        if what == "flip" and at < len(data):
            data[at] ^= 1 << int(much * 7.99)
        elif what == "put":
            data[at : at + len(new)] = new
        elif what == "cut":
            del data[at:upto]
        elif what == "repeat":
            data[at:at] = data[at : min(upto, at + 4096)]
        elif what == "move":
            part = data[at:upto]
            del data[at:upto]
            data[int(much * len(data)) : 0] = part
        elif what == "end":
            del data[at:]
            data += new
    return bytes(data)


def tried(good: Sequence[bytes], parse: Callable[[bytes], object], number: int) -> int:
    """Let `parse` have edited bytes so often; an expected failure must be one line, any other ends the trial."""
    refused = 0
    count = 0

    @settings(
        max_examples=number,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(list(good)), edits | st.none(), st.binary(max_size=200))
    def attempt(start: bytes, changes: list[tuple[str, float, float, bytes]] | None, other: bytes) -> None:
        nonlocal refused, count
        count += 1
        try:
            parse(other if changes is None else edited(start, changes))
        except MaskgateError as error:
            refused += 1
            line = str(error)
        else:
            line = "nothing"
        assert 0 < len(" ".join(line.split())) < 1000, line

    for start in good:
        parse(start)
    attempt()
    assert refused, "nothing was refused: the bytes were not bad enough"
    return count


@contextmanager
def folder() -> Iterator[Path]:
    """A folder in memory, where there is such a place."""
    path = Path(tempfile.mkdtemp(prefix="maskgate-fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def photos(number: int) -> int:
    """Photos of every format that is read."""
    image = Image.radial_gradient("L").resize((48, 40)).convert("RGB")
    exif = image.getexif()
    exif[0x0112] = 6

    def saved(kind: str, **how: object) -> bytes:
        out = io.BytesIO()
        image.save(out, kind, **how)
        return out.getvalue()

    good = [
        saved("JPEG", exif=exif),
        saved("JPEG", progressive=True),
        saved("PNG"),
        saved("WEBP"),
        saved("TIFF"),
        saved("BMP"),
    ]
    with folder() as place:
        file = place / "photo.jpg"

        def parse(data: bytes) -> None:
            file.write_bytes(data)
            load_photo(file)

        return tried(good, parse, number)


def configs(number: int) -> int:
    """The config file."""
    full = tomli_w.dumps(
        {"gate": {"relay_pin": 17, "unlock_s": 3.0}, "store": {"path": "g.db"}, "camera": {"size": [640, 480]}}
    )
    good = [full.encode(), (ROOT / "config" / "maskgate.toml").read_bytes(), b""]
    with folder() as place:
        file = place / "maskgate.toml"

        def parse(data: bytes) -> None:
            file.write_bytes(data)
            config.load(file)

        return tried(good, parse, number)


def tables(number: int) -> int:
    """The CSV file of an enrolment."""
    good = [b"name,photo\nAda,a.jpg\nBo,b.jpg\n", '\ufeffname,photo\n"Zoë, Z.",z.jpg\n'.encode()]
    with folder() as place:
        file = place / "people.csv"

        def parse(data: bytes) -> None:
            file.write_bytes(data)
            for wish in enrolling._listed(file):
                assert wish.photos
                assert wish.name

        return tried(good, parse, number)


def key_files(number: int) -> int:
    """The key file."""
    good = [b"# a key\n" + b"0123456789abcdef" * 4 + b"\n", b"f" * 64 + b"\n" + b"0" * 64]
    with folder() as place:
        file = place / "gate.key"

        def parse(data: bytes) -> None:
            file.write_bytes(data)
            file.chmod(0o600)
            assert Keys(file).read()

        return tried(good, parse, number)


def anchors(number: int) -> int:
    """A file of anchors; whatever it is, what is in it is an anchor or nothing."""
    good = [b"anchor seq=1 link=" + b"0a" * 32 + b" mac=" + b"0b" * 16 + b"\n"]

    def parse(data: bytes) -> None:
        if not anchors_in(data.decode(errors="replace")):
            raise StoreError("none")

    return tried(good, parse, number)


def backups(number: int) -> int:
    """A backup, its file and what is inside of it; the gallery that it would replace stays as it is."""
    with folder() as place:
        path, key, file = place / "gallery.db", place / "gate.key", place / "backup"
        with open_store(path, key=key, create=True) as store:
            write_log(store, 6)
            stretching, backup._SCRYPT = backup._SCRYPT, {"n": 1 << 14, "r": 8, "p": 1}
            try:
                backup.make(store, file, SECRET)
            finally:
                backup._SCRYPT = stretching
            store.copy_to(place / "copy")
            secrets = store.secrets()
        whole, inside = file.read_bytes(), (place / "copy").read_bytes()
        before = path.read_bytes()

        def parse(data: bytes) -> None:
            file.write_bytes(data)
            with backup.opened(file, SECRET, beside=path) as found:
                assert found.events

        def parse_inside(data: bytes) -> None:
            out = io.BytesIO()
            stretching, backup._SCRYPT = backup._SCRYPT, {"n": 1 << 14, "r": 8, "p": 1}
            try:
                backup._write(out, io.BytesIO(data), secrets, SECRET, {})
            finally:
                backup._SCRYPT = stretching
            parse(out.getvalue())

        count = tried([whole], parse, number) + tried([inside], parse_inside, number)
        assert path.read_bytes() == before
        assert sorted(one.name for one in place.iterdir()) == ["backup", "copy", "gallery.db", "gate.key"]
        return count


def databases(number: int) -> int:
    """The gallery file: opened, read, written to and asked by the commands."""
    with folder() as place:
        house = House(place)
        with house.store() as store:
            write_log(store, 8)
            store.rename("Ada", "Ada L.", actor="pat")
            store.rename("Ada L.", "Ada", actor="pat")
        good = house.gallery.read_bytes()
        turn = 0

        def parse(data: bytes) -> None:
            nonlocal turn
            turn += 1
            for left in place.glob("gallery.db*"):
                left.unlink()
            house.gallery.write_bytes(data)
            command = house.run(*COMMANDS[turn % len(COMMANDS)])
            assert command.code in (0, 1)
            assert len(command.err.splitlines()) <= 1
            with house.store(create=False) as store:
                failures = [failure for act in acts(store) for failure in outcome(act)]
            if failures:
                raise failures[0]

        def acts(store: object) -> list[Callable[[], object]]:
            assert hasattr(store, "templates")
            return [
                partial(store.templates, MODEL),
                store.subjects,
                lambda: list(store.events()),
                lambda: list(store.events(after_id=0, person="Ada")),
                lambda: list(store.verify()),
                lambda: store.details("Ada", MODEL),
                lambda: store.record(Event("decision", subject="Ada", granted=True)),
                lambda: store.rename("Bo", "Bob", actor="pat"),
                lambda: store.erase("Ada", actor="pat"),
                lambda: store.change_key(actor="pat"),
            ]

        return tried([good], parse, number)


def outcome(act: Callable[[], object]) -> list[MaskgateError]:
    """Do it; an expected failure is handed back."""
    try:
        act()
    except MaskgateError as error:
        return [error]
    return []


def models(number: int) -> int:
    """A model file, and the file that describes them."""
    installed = config.installed_models()
    with folder() as place:
        for file in installed.iterdir():
            if file.suffix in (".tflite", ".npy", ".toml"):
                (place / file.name).symlink_to(file)
        described = (installed / "models.toml").read_bytes()
        detector = place / "models.toml"
        name = next(
            file.name for file in installed.glob("*.tflite") if file.name in described.decode().split("[refiner]")[0]
        )

        def parse_described(data: bytes) -> None:
            detector.unlink()
            detector.write_bytes(data)
            faces.load(place, threads=1)

        count = tried([described], parse_described, max(5, number // 10))
        detector.unlink()
        detector.symlink_to(installed / "models.toml")
        network = (installed / name).read_bytes()

        def parse_network(data: bytes) -> None:
            (place / name).unlink()
            (place / name).write_bytes(data)
            faces.load(place, threads=1)

        return count + tried([network], parse_network, number)


PARSERS = {
    "photos": (photos, 20_000),
    "the config file": (configs, 10_000),
    "the CSV file of an enrolment": (tables, 10_000),
    "the key file": (key_files, 5_000),
    "a file of anchors": (anchors, 5_000),
    "a backup": (backups, 1_000),
    "the gallery file": (databases, 3_000),
    "the models": (models, 1_000),
}


def laws(share: float = 1.0) -> Iterable[tuple[str, Callable[[], int]]]:
    """Each law in words, and what tries it."""
    for name, (trial, number) in PARSERS.items():
        words = f"whatever bytes are given for {name}, one line is said and nothing is lost (fuzz)"
        yield words, partial(trial, max(10, int(number * share)))
