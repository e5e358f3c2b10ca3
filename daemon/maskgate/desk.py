"""Answer the administrator from within the loop: how the gate stands, orders to it, enrolment before its camera."""

from __future__ import annotations

import base64
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np

from maskgate import __version__, config, decide
from maskgate.camera import Frame
from maskgate.control import Request, Requests
from maskgate.faces import Faces
from maskgate.match import Gallery
from maskgate.values import FAULTS, Embedding, Quality, Sighting

PICTURE_S, PICTURE = 0.4, (80, 60)
"""How often somebody who enrols at a terminal gets a small grey picture, and its width and height."""
SHOT_GAP_S = 0.5
"""Between two shots of an enrolment the person should have moved a little."""
ENROL_S = 90.0
"""An enrolment at the gate gives up after this long: nobody is let in meanwhile."""
MOST_SHOTS = 10
RATE_S = 3.0
"""Frames are counted over this time for the rate that is shown; a face seen longer ago is gone."""
ORDERS = ("unlock", "hold_open", "lockdown", "release")
LONGEST_REASON = 200
LONGEST_HOLD_S = 86_400.0
"""A gate is held open for a day at most: what is to last longer is a lock's mechanical business."""


class Seen(Protocol):
    """What the desk needs of a moment of the loop."""

    @property
    def frame(self) -> Frame: ...
    @property
    def sighting(self) -> Sighting | None: ...
    @property
    def decision(self) -> decide.Decision | None: ...
    @property
    def form(self) -> str: ...


class Enrolled(Protocol):
    """What the desk needs of the roster."""

    @property
    def gallery(self) -> Gallery: ...


class Hands(Protocol):
    """What the desk needs of whoever carries orders out."""

    def standing(self) -> dict[str, Any]:
        """Return how lock and door stand, as JSON values."""

    def recent(self) -> list[dict[str, Any]]:
        """Return the latest events as JSON values, newest last."""

    def obey(self, order: str, *, actor: str, for_s: float | None, reason: str | None) -> str | None:
        """Record an administrator's order and carry it out; return why not, None when it was."""


@dataclass(slots=True)
class Sitting:
    """An enrolment at the gate, under way."""

    request: Request
    wanted: int
    began_s: float
    shots: list[tuple[Embedding, Quality]] = field(default_factory=list)
    last_shot_s: float = float("-inf")
    pictured_s: float = float("-inf")


class Desk:
    """Serves requests between two frames; never waits for a client."""

    def __init__(
        self, requests: Requests, *, faces: Faces, roster: Enrolled, settings: config.Settings, hands: Hands
    ) -> None:
        """Answer `requests` about the running loop; orders go to `hands`."""
        self._requests, self._faces, self._roster, self._settings = requests, faces, roster, settings
        self._hands = hands
        self._sitting: Sitting | None = None
        self._began_s = time.monotonic()
        self._frames = 0
        self._frames_s: deque[float] = deque(maxlen=256)
        self._sighting: tuple[float, Sighting] | None = None
        self._frame_s: float | None = None
        self._form = ""
        self._last: tuple[float, decide.Decision] | None = None
        """When its frame was served, and the decision: files shown as fast as they are read have their own clock."""

    @property
    def enrolling(self) -> bool:
        """True while somebody is being enrolled at the gate."""
        return self._sitting is not None

    def serve(self, moment: Seen | None) -> None:
        """Answer what has come in, and take the next shot of an enrolment; `moment` is None without a camera."""
        if moment is not None:
            self._frames += 1
            self._frame_s = time.monotonic()
            self._form = moment.form
            self._frames_s.append(self._frame_s)
            if moment.sighting is not None:
                self._sighting = self._frame_s, moment.sighting
            if moment.decision is not None:
                self._last = self._frame_s, moment.decision
        while (request := self._requests.pending()) is not None:
            self._take(request)
        if self._sitting is not None:
            self._continue(self._sitting, moment)

    def _take(self, request: Request) -> None:
        if request.name in ("status", "watch"):
            request.reply(self._status() if request.name == "status" else self._watched())
            request.close()
        elif request.name == "enrol":
            self._begin(request)
        elif request.name in ORDERS:
            request.reply(self._order(request))
            request.close()
        else:
            request.reply({"error": f"{request.name}: the daemon knows no such request"})
            request.close()

    def _order(self, request: Request) -> dict[str, Any]:
        """Pass an order on; say what came of it."""
        args = request.args
        for_s, reason, behind = args.get("for_s"), args.get("reason"), args.get("behind")
        if request.name == "hold_open" and not (isinstance(for_s, (int, float)) and 1 <= for_s <= LONGEST_HOLD_S):
            return {"error": f"for_s is {for_s!r}, must be 1 to {LONGEST_HOLD_S:.0f}"}
        if reason is not None and not (
            isinstance(reason, str) and 0 < len(reason) <= LONGEST_REASON and reason.isprintable()
        ):
            return {"error": f"reason must be one line of at most {LONGEST_REASON} characters"}
        # Root may say whom sudo works for, and is believed: root could write the log itself.
        actor = behind if request.uid == 0 and isinstance(behind, str) and behind else request.user
        why_not = self._hands.obey(
            request.name, actor=actor, for_s=for_s if request.name == "hold_open" else None, reason=reason
        )
        return {"error": why_not} if why_not else {"done": True, **self._hands.standing()}

    def _status(self) -> dict[str, Any]:
        """Describe the running daemon as JSON values."""
        now_s = time.monotonic()
        camera = self._settings.camera
        return {
            "version": __version__,
            "state": "enrolling" if self.enrolling else "armed" if self._camera_is_alive(now_s) else "camera_failed",
            **self._hands.standing(),
            "up_s": round(now_s - self._began_s, 1),
            "frames": self._frames,
            "camera": {
                "source": camera.source,
                "size": camera.size,
                "lores": camera.lores,
                "fps": camera.fps,
                "format": self._form or None,
            },
            "gallery": {"subjects": len(self._roster.gallery.subjects), "templates": len(self._roster.gallery)},
            "runtime": self._faces.runtime,
            "models": self._faces.digests,
            "last_decision": self._decided(now_s),
        }

    def _decided(self, now_s: float) -> dict[str, Any] | None:
        """Describe the last decision; None before the first."""
        if self._last is None:
            return None
        at_s, last = self._last
        told = ("granted", "reason", "subject", "score", "threshold", "margin", "masked", "live")
        return {"ago_s": round(now_s - at_s, 1)} | {name: getattr(last, name) for name in told}

    def _watched(self) -> dict[str, Any]:
        """Describe what somebody who watches wants besides: how fast frames come, what is seen, what happened last."""
        now_s = time.monotonic()
        rate = sum(now_s - at_s <= RATE_S for at_s in self._frames_s) / RATE_S
        sighting = None
        if self._sighting is not None and now_s - self._sighting[0] <= RATE_S:
            seen = self._sighting[1]
            quality = asdict(seen.quality)
            faults = list(quality.pop("faults"))
            sighting = {"faults": faults, "masked": seen.masked, "live": seen.live, "quality": quality}
        return self._status() | {"fps": round(rate, 1), "sighting": sighting, "events": self._hands.recent()}

    def _camera_is_alive(self, now_s: float) -> bool:
        return self._frame_s is not None and now_s - self._frame_s < self._settings.camera.stall_s

    def _begin(self, request: Request) -> None:
        wanted = request.args.get("shots", 3)
        if self._sitting is not None:
            request.reply({"error": "somebody is being enrolled at the gate already; wait until that is done"})
            request.close()
        elif not isinstance(wanted, int) or not 1 <= wanted <= MOST_SHOTS:
            request.reply({"error": f"shots is {wanted!r}, must be 1 to {MOST_SHOTS}"})
            request.close()
        else:
            self._sitting = Sitting(request, wanted, time.monotonic())

    def _continue(self, sitting: Sitting, moment: Seen | None) -> None:
        """Take a shot if this frame gives one, and tell the client what is seen."""
        now_s, sighting = time.monotonic(), moment.sighting if moment else None
        if sighting is not None and sighting.probe is not None and self._gives_shot(sitting, sighting, now_s):
            sitting.shots.append((sighting.probe, sighting.quality))
            sitting.last_shot_s = now_s
        progress = _progress(sitting, sighting)
        if moment is not None and sitting.request.args.get("picture") and now_s - sitting.pictured_s >= PICTURE_S:
            progress["picture"] = _small(moment.frame, sighting)
            sitting.pictured_s = now_s
        alive = sitting.request.reply(progress)
        if len(sitting.shots) == sitting.wanted:
            sitting.request.reply({"done": True, "model": self._faces.embedder, "shots": _shots(sitting)})
        elif now_s - sitting.began_s > ENROL_S:
            sitting.request.reply({"error": f"no {sitting.wanted} good shots within {ENROL_S:.0f} s; try better light"})
        elif alive:
            return
        sitting.request.close()
        self._sitting = None

    def _gives_shot(self, sitting: Sitting, sighting: Sighting, now_s: float) -> bool:
        good = sighting.usable and sighting.masked < 0.5 and not sighting.others
        return good and now_s - sitting.last_shot_s >= SHOT_GAP_S


def _progress(sitting: Sitting, sighting: Sighting | None) -> dict[str, Any]:
    """Say what is seen, and what would help."""
    faults = list(sighting.quality.faults) if sighting else []
    quality = None if sighting is None else {k: v for k, v in asdict(sighting.quality).items() if k != "faults"}
    return {
        "face": sighting is not None,
        "quality": quality,
        "faults": faults,
        "say": _advice(sighting, faults),
        "masked": round(sighting.masked, 3) if sighting else 0.0,
        "taken": len(sitting.shots),
        "wanted": sitting.wanted,
    }


def _small(frame: Frame, sighting: Sighting | None) -> str:
    """Word a picture as HEIGHTxWIDTH:base64 of grey bytes, the face in a frame."""
    luma = frame.lores.luma()
    height, wide = luma.shape
    columns, rows = PICTURE
    small = luma[np.arange(rows) * height // rows][:, np.arange(columns) * wide // columns].copy()
    if sighting is not None:
        across, down = columns / frame.main.size[0], rows / frame.main.size[1]
        left, top, right, bottom = sighting.face.box
        x = np.clip([round(left * across), round(right * across)], 0, columns - 1)
        y = np.clip([round(top * down), round(bottom * down)], 0, rows - 1)
        small[y[0] : y[1] + 1, x] = small[y, x[0] : x[1] + 1] = 255
    return f"{rows}x{columns}:{base64.b64encode(small.tobytes()).decode()}"


def _advice(sighting: Sighting | None, faults: list[str]) -> str:
    if sighting is None:
        return "nobody is there: step before the camera"
    if sighting.others:
        return "two faces are there: one at a time"
    if faults:
        return FAULTS[faults[0]]
    return "mask off, please" if sighting.masked >= 0.5 else "good: turn the head a little"


def _shots(sitting: Sitting) -> list[dict[str, Any]]:
    """Word the shots as JSON values."""
    return [
        {"embedding": base64.b64encode(probe.astype("<f4").tobytes()).decode(), "quality": asdict(quality)}
        for probe, quality in sitting.shots
    ]
