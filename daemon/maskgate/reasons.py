"""Every reason a decision can have, each with one plain sentence. Pure text: nothing else may invent a reason."""

from __future__ import annotations

REASONS: dict[str, str] = {
    "granted": "A subject was recognised in enough sightings in a row; the gate was opened.",
    "unknown": "The face is nobody's in the gallery.",
    "thin_margin": "Two subjects were about equally near; the gate does not guess.",
    "wavering": "Different sightings of one face were recognised as different subjects.",
    "not_live": "The network for liveness took the face for a picture of one.",
    "held_picture": "What is around the face moves with it, as around a picture that is held up.",
    "challenge_failed": "The head was not moved as asked, in time and by the face that was asked.",
    "no_liveness": "Liveness could not be judged, and without an answer the gate is not opened.",
    "two_faces": "Two faces were in the zone, and the policy wants one.",
    "just_granted": "The subject was let in a moment ago; the gate is not opened again within the re-grant interval.",
    "backing_off": "This person was refused too often in a row and has to wait; others are served.",
    "poor_picture": "A face was there, but never seen well enough to be recognised.",
    "left": "The face left before enough of it was seen.",
    "stale": "The frames were too old when they were judged; an old frame never opens the gate.",
    "empty_gallery": "Nobody is enrolled with the model that runs.",
    "revoked": "The subject was revoked or erased at that very moment; the gate stays shut.",
    "denied": "The subject is on the deny list.",
    "not_yet_valid": "The subject's rule is valid from a later day on.",
    "expired": "The subject's rule was valid until an earlier day.",
    "outside_schedule": "The subject's schedule does not cover this time.",
    "clock_untrusted": "The subject's rule is about time, and the gate's clock has not been set.",
    "used_up": "The subject has come in as often as the rule allows.",
    "nobody_first": "The subject comes after others, and none of those has come in today.",
    "passback": "The subject came in too short a time ago to come in again.",
    "mask_required": "The subject's rule wants a mask, and none was seen.",
    "second_person_needed": "The rule wants two persons, and this is the first of them.",
    "not_remembered": "The rules, or what they ask the log for, could not be read.",
    "lockdown": "The gate is in lockdown; nobody is let in.",
    "gate_fault": "Something about the gate itself is broken; nobody is let in.",
    "not_recorded": "The grant could not be written to the log, and the policy opens nothing unrecorded.",
}
"""Reason code to sentence. Codes are stable: logs and scripts keep them for years."""
