"""What the daemon does for its log beside the gate's own work: anchors go to the journal. Moves and decides nothing."""

from __future__ import annotations

import logging

from maskgate.store import Store
from maskgate.values import StoreError

log = logging.getLogger("maskgate")

LOOK_S = 60.0
"""How often the log is looked at."""
ANCHOR_S = 3600.0
"""What was recorded is anchored after this long at the latest ..."""
ANCHOR_EVENTS = 100
"""... or after so many events. Nothing is said while nothing happens."""


class Chores:
    """Kept by the loop's own thread, between two frames."""

    def __init__(self, store: Store) -> None:
        """Look after `store`."""
        self._store = store
        self._looked_s = float("-inf")
        self._anchored_s = float("-inf")
        self._anchored = 0

    def look(self, now_s: float) -> None:
        """Do what is due, at most once in `LOOK_S`; a store that fails is said, and stops nothing."""
        if now_s - self._looked_s < LOOK_S:
            return
        self._looked_s = now_s
        try:
            self._anchor(now_s)
        except StoreError as error:
            log.error("the log cannot be looked after: %s", error)

    def end(self, now_s: float) -> None:
        """Anchor what was recorded last."""
        self._looked_s = self._anchored_s = float("-inf")
        self.look(now_s)

    def _anchor(self, now_s: float) -> None:
        news = self._store.last_id() - self._anchored
        if news >= ANCHOR_EVENTS or (news and now_s - self._anchored_s >= ANCHOR_S):
            anchor = self._store.anchor()
            log.info("%s", anchor)
            self._anchored, self._anchored_s = anchor.id, now_s
