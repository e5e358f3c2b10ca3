"""What the daemon does for its log: anchors go to the journal, old events are removed. Moves and decides nothing."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from maskgate import config
from maskgate.pixels import Picture, jpeg_of
from maskgate.store import Store
from maskgate.values import StoreError

log = logging.getLogger("maskgate")

TRIM_S = 3600.0
"""How often old events are looked for; while there are more, at every look."""
LOOK_S = 60.0
"""How often the log is looked at."""
ANCHOR_S = 3600.0
"""What was recorded is anchored after this long at the latest ..."""
ANCHOR_EVENTS = 100
"""... or after so many events. Nothing is said while nothing happens."""
SNAPSHOT_SIZE = (320, 240)
"""Pixels within which a snapshot fits: enough to know somebody by, 5 to 15 KiB."""


class Album:
    """Small pictures of decisions, sealed, if the owner wants any: after the relay has moved, never before."""

    def __init__(self, store: Store, settings: config.Store) -> None:
        """Keep pictures in `store` as the settings say."""
        self._store, self._settings = store, settings

    def keep(self, event_id: int, picture: Picture, *, granted: bool) -> None:
        """Keep the picture of an event, or not; a picture that cannot be kept is said, and stops nothing."""
        if self._settings.snapshots == "off" or (granted and self._settings.snapshots == "refused"):
            return
        try:
            jpeg = jpeg_of(picture, SNAPSHOT_SIZE)
            self._store.attach(event_id, jpeg, most_bytes=self._settings.snapshots_mib << 20)
        except StoreError as error:
            log.error("the picture of event %d cannot be kept: %s", event_id, error)


class Chores:
    """Kept by the loop's own thread, between two frames."""

    def __init__(self, store: Store, *, keep_days: int = 0) -> None:
        """Look after `store`, whose events are kept for so many days; 0 is for ever."""
        self._store, self._keep_days = store, keep_days
        self._trimmed_s = float("-inf")
        self._looked_s = float("-inf")
        self._anchored_s = float("-inf")
        self._anchored = 0

    def look(self, now_s: float) -> None:
        """Do what is due, at most once in `LOOK_S`; a store that fails is said, and stops nothing."""
        if now_s - self._looked_s < LOOK_S:
            return
        self._looked_s = now_s
        try:
            self._trim(now_s)
            self._anchor(now_s)
        except StoreError as error:
            log.error("the log cannot be looked after: %s", error)

    def end(self, now_s: float) -> None:
        """Anchor what was recorded last."""
        self._looked_s = self._anchored_s = float("-inf")
        self.look(now_s)

    def _trim(self, now_s: float) -> None:
        if not self._keep_days or now_s - self._trimmed_s < TRIM_S:
            return
        removed = self._store.trim(datetime.now(UTC) - timedelta(days=self._keep_days))
        if removed:
            log.info("removed %d events older than store.keep_days, %d", removed, self._keep_days)
        else:
            self._trimmed_s = now_s

    def _anchor(self, now_s: float) -> None:
        news = self._store.last_id() - self._anchored
        if news >= ANCHOR_EVENTS or (news and now_s - self._anchored_s >= ANCHOR_S):
            anchor = self._store.anchor()
            log.info("%s", anchor)
            self._anchored, self._anchored_s = anchor.id, now_s
