"""The loop with real networks, real SQLite, simulated pins and frames made from a photo: record, then unlock."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import msgspec
import numpy as np
import pytest

from films import Film, approach, empty_scene
from maskgate import config, decide, look
from maskgate.camera import Frame
from maskgate.challenge import Order
from maskgate.control import ask
from maskgate.cues import Cue, Says, Verdict
from maskgate.faces import Faces
from maskgate.gate import SIGNS, Gate, open_gate
from maskgate.run import ASKING, Hands, Moment, Roster, attend, draw_orders, serve
from maskgate.store import Event, Store, open_store
from maskgate.values import StoreError
from people import Enrolled


@pytest.fixture
def settings(tmp_path: Path) -> config.Settings:
    """Return settings with simulated pins and everything else under tmp_path; a photo counts as the person."""
    raw = {
        "gate": {"pins": "simulated", "unlock_s": 0.3},
        "store": {"path": "gallery.db"},
        "control": {"socket": "control.sock"},
        "models": {"threads": 1},
        "policy": {"liveness": "off"},
        "camera": {"source": "film.mp4", "paced": False},
    }
    return config.parse(raw, tmp_path / "maskgate.toml")


@pytest.fixture
def gate(settings: config.Settings) -> Iterator[Gate]:
    """Hold the simulated gate."""
    with open_gate(settings.gate) as opened:
        yield opened


def play(film: Film, faces: Faces, store: Store | None, settings: config.Settings, hands: Hands) -> list[Moment]:
    """Run the production loop over a film."""
    roster = Roster(store, faces, settings)
    return list(attend(film, faces=faces, roster=roster, settings=settings, carry_out=hands.carry_out))


def decisions(moments: list[Moment]) -> list[decide.Decision]:
    """Return what was decided."""
    return [moment.decision for moment in moments if moment.decision is not None]


def test_a_resident_is_recorded_and_then_let_in(
    faces: Faces, enrolled: Enrolled, settings: config.Settings, gate: Gate
) -> None:
    with enrolled.store(settings) as store:
        hands = Hands(store, gate, settings.policy, model=faces.embedder, judge=faces.digests["liveness"])
        [decision] = decisions(play(approach(enrolled.probe), faces, store, settings, hands))
        assert (decision.granted, decision.subject) == (True, enrolled.name)
        [event] = [event for event in store.events() if event.kind == "decision"]
        assert (event.subject, event.granted, event.reason) == (enrolled.name, True, "granted")
        assert event.score == pytest.approx(decision.score)
        assert gate.edges()[0][1] is True
    told = event.detail
    assert told["scores"][-1] == pytest.approx(decision.score, abs=1e-3)
    assert {len(told[name]) for name in ("scores", "margins", "masks", "at_ms")} == {decision.frames}
    assert told["needs"]["bare"] == pytest.approx(decision.threshold, abs=1e-4)
    assert {"motion", "detect", "refine", "align", "judge", "embed", "liveness", "match"} == set(told["ms"])
    assert told["model"] == faces.embedder[:16]
    # Nobody asked whether a person stood there.
    assert event.live is None
    assert "live_by" not in told
    time.sleep(0.5)
    assert [energised for _, energised in gate.edges()] == [True, False]


def test_a_grant_takes_at_most_three_usable_frames(
    faces: Faces, enrolled: Enrolled, settings: config.Settings, gate: Gate
) -> None:
    with enrolled.store(settings) as store:
        moments = play(approach(enrolled.probe), faces, store, settings, Hands(store, gate, settings.policy))
    upto = next(i for i, moment in enumerate(moments) if moment.decision)
    assert sum(moment.sighting is not None and moment.sighting.usable for moment in moments[: upto + 1]) <= 3


def test_a_stranger_is_refused_and_nothing_is_driven(
    faces: Faces, enrolled: Enrolled, settings: config.Settings, gate: Gate
) -> None:
    with enrolled.store(settings) as store:
        moments = play(approach(enrolled.stranger), faces, store, settings, Hands(store, gate, settings.policy))
        assert {(d.granted, d.reason) for d in decisions(moments)} == {(False, "unknown")}
        assert gate.edges() == []
        assert [event.reason for event in store.events() if event.kind == "decision"] == ["unknown"]


def test_a_refused_attack_is_recorded_with_what_each_look_and_cue_said(
    faces: Faces, enrolled: Enrolled, settings: config.Settings, gate: Gate
) -> None:
    passive = Cue("passive", Says.ATTACK, 0.1234)
    seen = tuple(decide.Look(1.0, 0.5, 0.1, 0.0, live) for live in (0.1234, 0.1, None))
    refusal = decide.Decision(at_s=1.0, granted=False, reason="not_live", subject=enrolled.name, live=0.1234, seen=seen)
    refusal = replace(refusal, verdict=Verdict((passive,)))
    frame = next(approach(enrolled.probe).frames())
    with enrolled.store(settings) as store:
        hands = Hands(store, gate, settings.policy, judge="cd" * 32)
        hands.carry_out(refusal, frame)
        hands.carry_out(replace(refusal, suspected=True), frame)
        first, second, alarm = list(store.events())[-3:]
    assert (first.subject, first.granted, first.reason, first.live) == (enrolled.name, False, "not_live", 0.1234)
    assert first.detail["live"] == [0.123, 0.1, None]
    assert first.detail["live_by"] == "cd" * 8
    assert first.detail["cue"] == "passive"
    assert first.detail["cues"] == {"passive": ["attack", 0.123]}
    assert second.kind == "decision"
    assert alarm.kind == "attack_suspected"
    assert gate.edges() == []


def test_a_word_for_liveness_becomes_the_threshold_that_was_measured(faces: Faces) -> None:
    for word, told in faces.liveness_at.items():
        rules = look.policy_of(config.Settings(policy=config.Policy(liveness=word)), faces, 1).liveness  # type: ignore[arg-type]
        assert rules is not None
        assert rules.threshold == told.live
    assert look.policy_of(config.Settings(policy=config.Policy(liveness="off")), faces, 1).liveness is None
    lenient = look.policy_of(config.Settings(policy=config.Policy(liveness="lenient")), faces, 1).liveness
    assert lenient is not None
    assert (lenient.threshold, lenient.sure) == (0.0, faces.liveness_at["strict"].live)


def test_who_does_not_move_as_drawn_is_asked_refused_and_not_let_in(
    faces: Faces, enrolled: Enrolled, settings: config.Settings, gate: Gate
) -> None:
    """The film brings a photo nearer, and the drawing asks for other things."""
    policy = msgspec.structs.replace(settings.policy, challenge="always")
    settings = msgspec.structs.replace(settings, policy=policy)
    with enrolled.store(settings) as store:
        moments = list(
            attend(
                approach(enrolled.probe),
                faces=faces,
                roster=Roster(store, faces, settings),
                settings=settings,
                carry_out=Hands(store, gate, policy).carry_out,
                draw=lambda: (Order.LEFT, Order.RIGHT),
            )
        )
        [event] = [event for event in store.events() if event.kind == "decision"]
    assert Order.LEFT in [moment.asks for moment in moments]
    assert (event.granted, event.reason, event.detail["asked"]) == (False, "challenge_failed", ["left", "right"])
    assert gate.edges() == []


def test_orders_are_drawn_anew_and_each_has_a_sign_of_its_own() -> None:
    drawn = {draw_orders() for _ in range(300)}
    assert drawn == set(permutations(Order, 2))
    assert set(ASKING) == set(Order)
    assert len({SIGNS[sign] for sign in [*ASKING.values(), "granted", "refused"]}) == len(Order) + 2


class Watched(Store):
    """A real store that notes whether the relay had moved when a decision was to be recorded."""

    gate: Gate
    before: list[bool]

    def record(self, event: Event) -> int:
        """Record, noting the relay."""
        self.before.append(self.gate.unlocked)
        return super().record(event)


def test_the_record_comes_before_the_relay(
    faces: Faces, enrolled: Enrolled, settings: config.Settings, gate: Gate
) -> None:
    with enrolled.store(settings) as store:
        store.__class__ = Watched
        assert isinstance(store, Watched)
        store.gate, store.before = gate, []
        play(approach(enrolled.probe), faces, store, settings, Hands(store, gate, settings.policy))
        assert store.before == [False]
        assert gate.edges()[0][1] is True


@pytest.mark.parametrize(("policy", "opened"), [("refuse", False), ("admit", True)])
def test_a_grant_that_cannot_be_recorded_goes_by_the_policy(
    faces: Faces,
    enrolled: Enrolled,
    settings: config.Settings,
    gate: Gate,
    policy: str,
    opened: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The file turns read-only under the daemon, as a dying SD card does to it."""
    changed = msgspec.structs.replace(settings.policy, when_log_fails=policy)
    settings = msgspec.structs.replace(settings, policy=changed)
    enrolled.store(settings).close()
    with open_store(Path(settings.store.path), readonly=True) as store:
        [decision] = decisions(
            play(approach(enrolled.probe), faces, store, settings, Hands(store, gate, settings.policy))
        )
    assert decision.granted is opened
    assert decision.reason == ("granted" if opened else "not_recorded")
    assert bool(gate.edges()) is opened
    assert "could not be recorded" in caplog.text


def test_who_is_revoked_while_the_gate_runs_stays_out(
    faces: Faces, enrolled: Enrolled, settings: config.Settings, gate: Gate
) -> None:
    with enrolled.store(settings) as store, open_store(Path(settings.store.path)) as admin:
        film = approach(enrolled.probe, meanwhile=(1.0, lambda: admin.revoke(enrolled.name, actor="root")))
        changed = msgspec.structs.replace(settings.policy, regrant_s=0, gone_s=0.3)
        settings = msgspec.structs.replace(settings, policy=changed)
        first = approach(enrolled.probe, before_s=0.2)
        moments = play(first + film, faces, store, settings, Hands(store, gate, settings.policy))
    assert [d.granted for d in decisions(moments)] == [True, False]
    assert decisions(moments)[-1].reason == "empty_gallery"


def test_who_is_revoked_between_the_look_and_the_record_stays_out(
    faces: Faces, enrolled: Enrolled, settings: config.Settings, gate: Gate
) -> None:
    """Even under "admit": the policy is about a log that fails, not about people who may not enter."""
    policy = config.Policy(when_log_fails="admit")
    with enrolled.store(settings) as store, open_store(Path(settings.store.path)) as admin:
        hands = Hands(store, gate, policy)

        def late(decision: decide.Decision, frame: Frame) -> decide.Decision:
            admin.revoke(enrolled.name, actor="root")
            return hands.carry_out(decision, frame)

        film, roster = approach(enrolled.probe), Roster(store, faces, settings)
        moments = list(attend(film, faces=faces, roster=roster, settings=settings, carry_out=late))
        [decision] = decisions(moments)
        assert (decision.granted, decision.reason, decision.subject) == (False, "revoked", None)
        assert gate.edges() == []
        assert [event.reason for event in store.events() if event.kind == "decision"] == ["revoked"]


def test_who_is_enrolled_while_the_gate_runs_gets_in_within_a_second(
    faces: Faces, enrolled: Enrolled, settings: config.Settings, gate: Gate
) -> None:
    with open_store(Path(settings.store.path), create=True) as store, open_store(Path(settings.store.path)) as admin:
        film = approach(enrolled.probe, before_s=2.0, meanwhile=(1.0, lambda: enrolled.enrol(admin)))
        [decision] = decisions(play(film, faces, store, settings, Hands(store, gate, settings.policy)))
    assert decision.granted


def test_a_still_scene_runs_no_network_and_writes_nothing(
    faces: Faces, enrolled: Enrolled, settings: config.Settings, gate: Gate
) -> None:
    with enrolled.store(settings) as store:
        stood = Path(settings.store.path + "-wal").stat()
        moments = play(empty_scene(20), faces, store, settings, Hands(store, gate, settings.policy))
        now = Path(settings.store.path + "-wal").stat()
        assert (now.st_size, now.st_mtime_ns) == (stood.st_size, stood.st_mtime_ns)
    asleep = moments[len(moments) // 4 :]
    assert not any(moment.awake for moment in asleep)
    assert {name for moment in asleep for name in moment.stages.ms} == {"motion"}


def test_nothing_is_decided_while_somebody_is_being_enrolled(
    faces: Faces, enrolled: Enrolled, settings: config.Settings, gate: Gate
) -> None:
    with enrolled.store(settings) as store:
        moments = list(
            attend(
                approach(enrolled.probe),
                faces=faces,
                roster=Roster(store, faces, settings),
                settings=settings,
                carry_out=Hands(store, gate, settings.policy).carry_out,
                resting=lambda: True,
            )
        )
    assert decisions(moments) == []
    assert any(moment.sighting for moment in moments)


def test_templates_of_another_model_are_not_compared(
    faces: Faces, enrolled: Enrolled, settings: config.Settings, gate: Gate
) -> None:
    with open_store(Path(settings.store.path), create=True) as store:
        store.enrol(enrolled.name, enrolled.templates, model="f" * 64, source="photo", actor="test")
        [decision] = decisions(
            play(approach(enrolled.probe), faces, store, settings, Hands(store, gate, settings.policy))
        )
    assert decision.reason == "empty_gallery"


def test_a_gallery_that_cannot_be_read_admits_nobody(
    faces: Faces, enrolled: Enrolled, settings: config.Settings
) -> None:
    class Broken(Store):
        """A store whose file has gone bad."""

        def version(self) -> int:
            """Fail as a bad file does."""
            raise StoreError("gallery.db: disk I/O error; check the card")

    with enrolled.store(settings) as store:
        roster = Roster(store, faces, settings)
        roster.refresh(0.0, every_s=0)
        assert len(roster.gallery)
        store.__class__ = Broken
        roster.refresh(1.0, every_s=0)
        assert not len(roster.gallery)


def test_a_change_is_seen_by_a_loop_whose_clock_begins_anew(
    faces: Faces, enrolled: Enrolled, settings: config.Settings
) -> None:
    """The daemon reads the gallery by the machine's clock, then looks at a film by the film's."""
    with enrolled.store(settings) as store, open_store(Path(settings.store.path)) as admin:
        roster = Roster(store, faces, settings)
        roster.refresh(time.monotonic() + 1e6, every_s=0)
        assert len(roster.gallery)
        admin.revoke(enrolled.name, actor="test")
        roster.refresh(0.1, every_s=0.5)
        assert not len(roster.gallery)


def test_the_thresholds_grow_with_the_gallery(faces: Faces, enrolled: Enrolled, settings: config.Settings) -> None:
    few, many = (look.policy_of(settings, faces, templates).thresholds for templates in (1, 20))
    assert all(many[cover] > few[cover] for cover in few)


# The daemon as a process


def write_config(folder: Path, **sections: dict[str, object]) -> Path:
    """Write a config file for a daemon of its own and return its path."""
    base: dict[str, dict[str, object]] = {
        "gate": {"pins": "simulated"},
        "store": {"path": "gallery.db"},
        "control": {"socket": "control.sock"},
        "rules": {"clock": "trust"},
        "models": {"threads": 1},
        "policy": {"liveness": "off"},
    }
    lines = []
    for name, values in {**base, **sections}.items():
        lines += [f"[{name}]", *(f"{key} = {msgspec.json.encode(value).decode()}" for key, value in values.items())]
    path = folder / "maskgate.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def start(path: Path, folder: Path) -> tuple[subprocess.Popen[str], socket.socket]:
    """Start `maskgate run` with a notify socket; return the process and the socket."""
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(str(folder / "notify"))
    notify.settimeout(30)
    process = subprocess.Popen(
        [sys.executable, "-m", "maskgate.admin", "--config", str(path), "run"],
        env={**os.environ, "NOTIFY_SOCKET": str(folder / "notify")},
        stderr=subprocess.PIPE,
        text=True,
    )
    return process, notify


def test_without_a_camera_the_daemon_stays_locked_says_so_once_and_pings_nobody(tmp_path: Path) -> None:
    process, notify = start(write_config(tmp_path), tmp_path)
    try:
        said = notify.recv(1000).decode()
        assert said.startswith("STATUS=locked: ")
        time.sleep(2.5)
        notify.settimeout(0.1)
        later = []
        while True:
            try:
                later.append(notify.recv(1000).decode())
            except TimeoutError:
                break
        assert not any(line.startswith(("READY", "WATCHDOG")) for line in later)
        [status] = list(ask(tmp_path / "control.sock", "status"))
        assert status["state"] == "camera_failed"
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert errors.count("locked: ") == 1
    assert "Traceback" not in errors
    with open_store(tmp_path / "gallery.db") as store:
        kinds = [event.kind for event in store.events()]
    assert kinds == ["started", "camera_failed", "stopped"]


def test_the_daemon_is_ready_after_a_frame_and_pings_from_the_loop(tmp_path: Path, enrolled: Enrolled) -> None:
    (tmp_path / "shots").mkdir()
    for number in range(4):
        enrolled.save_scene(tmp_path / "shots" / f"{number}.png")
    process, notify = start(write_config(tmp_path, camera={"source": "shots", "fps": 5}), tmp_path)
    _, errors = process.communicate(timeout=60)
    notify.settimeout(0.2)
    heard = []
    while True:
        try:
            heard.append(notify.recv(1000).decode())
        except TimeoutError:
            break
    assert process.returncode == 0, errors
    assert heard[0] == "READY=1"
    assert heard.count("WATCHDOG=1") >= 3
    assert heard[-1] == "STOPPING=1"


def test_a_second_daemon_on_the_same_gate_is_refused(tmp_path: Path, enrolled: Enrolled) -> None:
    path = write_config(tmp_path)
    first, notify = start(path, tmp_path)
    try:
        notify.recv(1000)
        second = subprocess.run(
            [sys.executable, "-m", "maskgate.admin", "--config", str(path), "run"], capture_output=True, text=True
        )
        assert second.returncode == 1
        assert "another daemon has it" in second.stderr
        assert len(second.stderr.strip().splitlines()) == 1
    finally:
        first.terminate()
        first.communicate(timeout=20)


def test_enrolment_at_the_gate_streams_what_is_seen_and_ends_with_templates(
    tmp_path: Path, faces: Faces, enrolled: Enrolled, settings: config.Settings
) -> None:
    (tmp_path / "shots").mkdir()
    for number in range(8):
        enrolled.save_scene(tmp_path / "shots" / f"{number}.png", shift=number)
    settings = msgspec.structs.replace(
        settings, camera=config.Camera(source=str(tmp_path / "shots"), fps=10, paced=True)
    )
    told: list[dict[str, object]] = []

    def client() -> None:
        while not Path(settings.control.socket).exists():
            time.sleep(0.05)
        told.extend(ask(Path(settings.control.socket), "enrol", shots=2))

    asking = threading.Thread(target=client)
    asking.start()
    serve(settings)
    asking.join(timeout=10)
    assert told[-1]["done"] is True
    assert told[-1]["model"] == faces.embedder
    assert len(told[-1]["shots"]) == 2  # type: ignore[arg-type]
    assert {"face", "faults", "say", "masked", "taken", "wanted"} <= told[0].keys()


def test_observing_sees_every_moment_after_it_was_acted_on(
    tmp_path: Path, enrolled: Enrolled, settings: config.Settings
) -> None:
    (tmp_path / "shots").mkdir()
    enrolled.save_scene(tmp_path / "shots" / "1.png")
    enrolled.store(settings).close()
    settings = msgspec.structs.replace(settings, camera=config.Camera(source=str(tmp_path / "shots"), paced=False))
    seen: list[tuple[bool, bool]] = []
    serve(settings, observe=lambda m, g: seen.append((m.decision is not None and m.decision.granted, g.unlocked)))
    assert len(seen) == 15
    assert (True, True) in seen
    assert np.argmax([granted for granted, _ in seen]) <= 3


def test_the_gate_names_the_networks_that_a_decision_rests_on(
    tmp_path: Path, faces: Faces, enrolled: Enrolled, settings: config.Settings
) -> None:
    (tmp_path / "shots").mkdir()
    enrolled.save_scene(tmp_path / "shots" / "1.png")
    enrolled.store(settings).close()
    settings = msgspec.structs.replace(
        settings,
        camera=config.Camera(source=str(tmp_path / "shots"), paced=False),
        policy=config.Policy(liveness="lenient"),
    )
    serve(settings)
    with enrolled.store(settings) as store:
        [told] = [event for event in store.events() if event.kind == "decision"]
    assert told.live is not None
    assert told.detail["model"] == faces.embedder[:16]
    assert told.detail["live_by"] == faces.digests["liveness"][:16]
