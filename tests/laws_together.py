"""The law of many at once: daemon, enrolment, log follower, backup, erasing and a change of keys, and nothing is lost.

Each is a process of its own; backup, erasing, key and follower are the commands that an administrator would give.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Thread
from typing import Any

from house import DAEMON, MODEL, House, environment
from worlds import person

HERE = Path(__file__).resolve().parent
JPEG = b"\xff\xd8\xff\xe0 picture " * 400


def daemon(house: House, until: float) -> dict[str, Any]:
    """Decide, record, keep pictures, read the gallery anew when it changes: what the loop asks of the store."""
    from maskgate.chores import Chores
    from maskgate.store import Event
    from maskgate.values import StoreError

    recorded: list[int] = []
    waited, known, templates, locked, longest = 0, None, [], 0, 0.0
    with house.store() as store:
        chores = Chores(store)
        while time.time() < until:
            if store.version() != known:
                templates, known = store.templates(MODEL), store.version()
            who = templates[waited % len(templates)].subject if templates else None
            waited += 1
            began = time.monotonic()
            try:
                recorded.append(
                    store.record(Event("decision", subject=who, granted=False, reason="unknown", score=0.3))
                )
                if waited % 10 == 0:
                    store.attach(recorded[-1], JPEG, most_bytes=1 << 20)
            except StoreError as error:
                if "locked by another process" not in str(error):
                    raise
                locked += 1
            longest = max(longest, time.monotonic() - began)
            chores.look(time.monotonic())
            time.sleep(0.01)
    return {"recorded": recorded, "locked": locked, "longest": longest}


def enrolment(house: House, until: float) -> dict[str, Any]:
    """Enrol one after another; where it was told to try again, it does."""
    from maskgate.values import StoreError

    enrolled: list[str] = []
    with house.store() as store:
        while time.time() < until:
            name = f"Resident {len(enrolled):05d}"
            shots = [(person(len(enrolled) * 3 + number), {"n": number}) for number in range(3)]
            try:
                store.enrol(name, shots, model=MODEL, source="photo", actor="pat")
                enrolled.append(name)
            except StoreError as error:
                if "locked by another process" not in str(error):
                    raise
            time.sleep(0.15)
    return {"enrolled": enrolled}


def eraser(house: House, until: float) -> dict[str, Any]:
    """Erase every third of who is enrolled, by the command."""
    erased: list[str] = []
    while time.time() < until:
        name = f"Resident {len(erased) * 3:05d}"
        done = command(house, "erase", name, "--yes")
        if done.returncode == 0:
            erased.append(name)
        else:
            assert "nobody of that name" in done.stderr or "locked" in done.stderr or "still reads" in done.stderr, done
            time.sleep(0.2)
            if "still reads" in done.stderr:  # erased, but the proof must be made again
                erased.append(name)
    return {"erased": erased}


def backups(house: House, until: float) -> dict[str, Any]:
    """Back up again and again; each is verified when it is made."""
    made = 0
    (house.folder / "secret").write_bytes(b"correct horse battery")
    while time.time() < until:
        done = command(house, "backup", "b.mgb", "--yes", "--passphrase-file", str(house.folder / "secret"))
        assert done.returncode == 0, done
        made += 1
    return {"backups": made}


def keys(house: House, until: float) -> dict[str, Any]:
    """Change the key now and then."""
    changed = 0
    while time.time() < until:
        done = command(house, "key", "rotate")
        assert done.returncode == 0 or "locked" in done.stderr or "still reads" in done.stderr, done
        changed += done.returncode == 0
        time.sleep(2)
    return {"changed": changed}


def command(house: House, *words: str) -> subprocess.CompletedProcess[str]:
    """Give a command, as an administrator does."""
    process = house.start(*words, text=True, cwd=house.folder)
    out, err = process.communicate(timeout=120)
    assert "Traceback" not in err, err
    return subprocess.CompletedProcess(words, process.returncode, out, err)


ROLES: dict[str, Callable[[House, float], dict[str, Any]]] = {
    "daemon": daemon,
    "enrolment": enrolment,
    "eraser": eraser,
    "backups": backups,
    "keys": keys,
}


def together(seconds: float) -> int:
    """Let all of them work for so long, then hold what each says it did against what is there; returns the events."""
    folder = Path(tempfile.mkdtemp(prefix="maskgate-together-"))
    running: list[subprocess.Popen[Any]] = []
    try:
        house = House(folder)
        house.enrol()
        follower = house.start("log", "--follow", "--json", "--limit", "0")
        running.append(follower)
        followed: list[int] = []
        reader = Thread(target=read, args=(follower, followed))
        reader.start()
        until = time.time() + seconds
        workers = {role: started(role, folder, until) for role in ROLES}
        running += workers.values()
        told: dict[str, Any] = {}
        for role, worker in workers.items():
            out, err = worker.communicate(timeout=seconds + 300)
            assert worker.returncode == 0, f"{role}: {err[-2000:]}"
            told |= json.loads(out)
        last = checked(house, told)
        wait_until = time.time() + 20
        while (not followed or followed[-1] < last) and time.time() < wait_until:
            time.sleep(0.1)
        follower.terminate()
        follower.wait()
        reader.join()
        assert followed == list(range(1, last + 1)), "the follower missed or repeated an event"
        print(
            f"    {len(told['recorded'])} decisions (longest wait {told['longest']:.1f} s, {told['locked']} refused as "
            f"locked), {len(told['enrolled'])} enrolled, {len(told['erased'])} erased, {told['backups']} backups, "
            f"{told['changed']} changes of keys",
            flush=True,
        )
        return last
    finally:
        for process in running:
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def read(follower: subprocess.Popen[bytes], followed: list[int]) -> None:
    """Take down what the follower says until it ends."""
    assert follower.stdout is not None
    for line in follower.stdout:
        followed.append(json.loads(line)["id"])


def started(role: str, folder: Path, until: float) -> subprocess.Popen[str]:
    """Start one of them as a process."""
    words = [sys.executable, str(HERE / "laws_together.py"), role, str(folder), str(until)]
    path = environment(PYTHONPATH=f"{HERE}:{DAEMON}")
    return subprocess.Popen(words, env=path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def checked(house: House, told: dict[str, Any]) -> int:
    """What was acknowledged is there, what was erased is not, and the log is whole; returns the last id."""
    with house.store() as store:
        assert list(store.verify()) == []
        assert store.damage() is None
        ids = [event.id for event in store.events(after_id=0)]
        assert ids == list(range(1, len(ids) + 1))
        assert len(set(told["recorded"])) == len(told["recorded"])
        assert set(told["recorded"]) <= set(ids)
        left = [name for name in told["enrolled"] if name not in set(told["erased"])]
        assert [subject.name for subject in store.subjects()] == left
        assert len(store.templates(MODEL)) == 3 * len(left)
        assert told["recorded"]
        assert told["erased"]
        assert told["backups"]
        for name in told["erased"][-3:]:
            pseudonym = f"erased-{int(name.split()[1]) + 1}"
            assert store.erase(pseudonym, actor="pat") == pseudonym
    data = b"".join(file.read_bytes() for file in house.folder.glob("gallery.db*"))
    assert not [name for name in told["erased"] if name.encode() in data]
    return ids[-1]


def laws(share: float = 1.0) -> Iterable[tuple[str, Callable[[], int]]]:
    """Each law in words, and what tries it."""
    yield (
        "daemon, enrolment, follower, backup, erasing and a change of keys at once lose nothing (ten minutes; events)",
        lambda: together(max(8.0, 600 * share)),
    )


if __name__ == "__main__":
    here = House.__new__(House)
    here.folder = Path(sys.argv[2])
    here.path, here.gallery = here.folder / "maskgate.toml", here.folder / "gallery.db"
    print(json.dumps(ROLES[sys.argv[1]](here, float(sys.argv[3]))))
