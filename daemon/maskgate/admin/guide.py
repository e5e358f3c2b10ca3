"""Examples for every command and topics for `maskgate help`: the one source of --help, the manual page and the README.

Plain data: a test runs every example's command line through the parser, and refuses a command without one.
"""

from __future__ import annotations

from maskgate.reasons import REASONS

EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "enrol": (
        ("sudo maskgate enrol Anna anna.jpg", "one bare photo from the front is enough"),
        ("sudo maskgate enrol --folder photos/", "photos/<person>/*.jpg; run again, it goes on"),
        ("sudo maskgate enrol Ben --camera", "before the gate, with a picture and advice"),
    ),
    "people": (("sudo maskgate people", ""), ("sudo maskgate people --json", "a JSON object per person")),
    "show": (("sudo maskgate show Anna", ""),),
    "revoke": (("sudo maskgate revoke Ben", "does not get in any more, from now on"),),
    "reinstate": (("sudo maskgate reinstate Ben", "gets in again"),),
    "rename": (("sudo maskgate rename Anna 'Anna B.'", ""),),
    "erase": (("sudo maskgate erase Ben", "asks first"), ("sudo maskgate erase Ben --yes", "does not")),
    "rules": (("sudo maskgate rules list", ""),),
    "rules list": (("sudo maskgate rules list", "every rule, and where it stands"),),
    "rules explain": (("sudo maskgate rules explain Cleo --at 2026-11-25T19:00", "what would happen then, and why"),),
    "rules check": (("sudo maskgate rules check", "are there mistakes, or names of nobody?"),),
    "rules set": (
        ("sudo maskgate rules set Cleo 'schedule=mon-fri 08:00-18:00'", ""),
        ("sudo maskgate rules set --group cleaners members=Cleo,Dan valid_until=2026-12-31", ""),
    ),
    "rules deny": (("sudo maskgate rules deny Ben", "never, whatever else is said"),),
    "rules allow": (("sudo maskgate rules allow Ben", "undoes deny"),),
    "unlock": (("maskgate unlock --reason parcel", "once, for as long as a grant would"),),
    "hold-open": (("maskgate hold-open --for 30m --reason delivery", ""),),
    "lockdown": (("maskgate lockdown", "the exit button works on; release ends it"),),
    "release": (("maskgate release", "back to letting in whom it should"),),
    "log": (
        ("sudo maskgate log --limit 20", ""),
        ("sudo maskgate log --follow", "and what comes"),
        ("sudo maskgate log --json --since 2026-01-01", "for a script"),
    ),
    "log verify": (
        ("sudo maskgate log verify", "was a record altered, removed, inserted? exit 1 if so"),
        ("journalctl -u maskgate | sudo maskgate log verify --anchor -", "or cut off?"),
    ),
    "log anchor": (("sudo maskgate log anchor /media/usb/anchors.txt", ""),),
    "log snapshot": (("sudo maskgate log snapshot 4711 4711.jpg", "the picture of an event, if one is kept"),),
    "log show": (("sudo maskgate log show 4711", "all that is known of event 4711"),),
    "log why": (("sudo maskgate log why 4711", "in one sentence"),),
    "stats": (("sudo maskgate stats", ""), ("sudo maskgate stats --html gate.html", "one page, to copy home")),
    "tune": (("sudo maskgate tune", "changes nothing"),),
    "watch": (("sudo maskgate watch", "q leaves"), ("ssh -t gate sudo maskgate watch", "from elsewhere")),
    "status": (("sudo maskgate status", ""), ("sudo maskgate status --json", "for a script")),
    "doctor": (
        ("sudo maskgate doctor", ""),
        ("sudo maskgate doctor --json > doctor.json", "to send with a report; it names nobody"),
    ),
    "config": (("maskgate config show", ""),),
    "config check": (("maskgate config check", "after an edit, before the restart"),),
    "config show": (("maskgate config show", "what the gate really runs with"),),
    "backup": (("sudo maskgate backup /media/usb/gate.mgb", "gallery, rules and key; asks for a passphrase"),),
    "restore": (("sudo maskgate restore /media/usb/gate.mgb", "verified whole first; asks before it replaces"),),
    "key": (("sudo maskgate key show", ""),),
    "key make": (("sudo maskgate key make", "./install does it"),),
    "key rotate": (("sudo maskgate key rotate", "everything under a new key, while the gate runs"),),
    "key show": (("sudo maskgate key show", "the key's fingerprint, never the key"),),
    "key adopt": (("sudo maskgate key adopt", ""),),
    "hooks": (("maskgate hooks list", ""),),
    "hooks list": (("maskgate hooks list", ""),),
    "hooks test": (
        ("sudo maskgate hooks test", ""),
        ("journalctl -u maskgate-hooks -n 20", "what they said to it"),
    ),
    "hooks run": (("maskgate --config maskgate.toml hooks run", "by hand, where there is no systemd"),),
    "run": (("maskgate --config maskgate.toml run", "by hand; systemctl start maskgate is the way"),),
    "lock": (("sudo maskgate lock", ""),),
    "inspect": (
        ("maskgate inspect photo.jpg", ""),
        ("maskgate inspect --json photo.jpg", "face, quality, mask, embedding, match"),
    ),
    "replay": (("maskgate replay visit.mp4", "nothing recorded, nothing driven"),),
    "evaluate": (("maskgate evaluate recognition family/", ""),),
    "evaluate recognition": (("maskgate evaluate recognition family/ --pictures .", "family/<person>/*.jpg"),),
    "evaluate liveness": (("maskgate evaluate liveness attacks/ --pictures .", "attacks/<species>/{live,attack}/"),),
    "bench": (("maskgate bench", ""), ("maskgate bench --submit-text", "a row for docs/BENCHMARKS.md")),
    "help": (
        ("maskgate help", "what there is to read"),
        ("maskgate help reasons", "every reason code in a sentence"),
        ("maskgate help log verify", "as maskgate log verify --help"),
    ),
    "completion": (
        ("maskgate completion bash > ~/.local/share/bash-completion/completions/maskgate", ""),
        ("maskgate completion fish > ~/.config/fish/completions/maskgate.fish", "./install places all three"),
    ),
}
"""By the words after `maskgate`: command lines, each with a remark or none."""

TOPICS: dict[str, tuple[str, str]] = {
    "evening": (
        "The first evening",
        """\
sudoedit /etc/maskgate/maskgate.toml    which pin drives the relay? everything else has a default
sudo maskgate config check              is it right?
sudo maskgate doctor                    is everything there, and what mends what is not?
sudo maskgate enrol Anna anna.jpg       or: sudo maskgate enrol Anna --camera
sudo systemctl restart maskgate
sudo maskgate watch                     walk up""",
    ),
    "exit-codes": (
        "Exit codes",
        """\
0      all went well.
1      something failed; one line on stderr says what, and the way out. Also: a check, a photo or a record that is not
       good, and a reader of the output that went away.
2      the command was called wrongly; what would be right is on stderr.
128+n  ended by signal n.""",
    ),
    "reasons": (
        "Reasons that a decision can have",
        "\n".join(f"{code:<21} {sentence}" for code, sentence in REASONS.items()),
    ),
    "files": (
        "Files",
        """\
/etc/maskgate/maskgate.toml     the settings; each is explained there
/etc/maskgate/gate.key          the key that templates are sealed with; keep a copy: maskgate backup
/etc/maskgate/hooks/            programs run for each event, if report.hooks says so
/var/lib/maskgate/gallery.db    people and log
/run/maskgate/control.sock      how commands reach the running gate: root and the group maskgate""",
    ),
    "environment": (
        "Environment",
        """\
MASKGATE_CONFIG   the settings to use, as --config
NO_COLOR          no colours
DEBUG=1           a traceback with an error
TZ                the zone that times are shown in; unset, it is the gate's""",
    ),
    "journal": (
        "The journal",
        """\
journalctl -u maskgate -f                        what the gate says
journalctl -u maskgate -p warning                attacks, a forced door, a failing camera; nothing of an ordinary day
journalctl -u maskgate MASKGATE_REASON=unknown   by field: also MASKGATE_EVENT, MASKGATE_EVENT_ID, MASKGATE_GRANTED,
                                                 MASKGATE_SUBJECT, MASKGATE_ACTOR, MASKGATE_SCORE, MASKGATE_THRESHOLD,
                                                 MASKGATE_MARGIN, MASKGATE_MASKED, MASKGATE_LIVE, MASKGATE_FAULT""",
    ),
}
"""By the word after `maskgate help`: a heading and lines of at most 120 columns."""


def examples(path: str) -> str:
    """Return the examples of a command as lines, remarks in a column; empty where there are none."""
    shown = EXAMPLES.get(path, ())
    wide = max((len(line) for line, remark in shown if remark), default=0)
    return "\n".join(f"{line:<{wide}}  {remark}" if remark else line for line, remark in shown)
