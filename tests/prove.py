"""Try the laws at full size: `make prove`, or a part: `.venv/bin/python tests/prove.py power --share 0.01`.

Each `laws_*.py` here has a function `laws` that yields laws, each in words and with a function that tries it: that
returns in how many cases, and raises AssertionError when the law is broken. `laws` may take `share`, which scales the
numbers.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Print a line for each law that was picked; return 1 when one is broken or none was picked."""
    asked = argparse.ArgumentParser(description="Try the laws, a line for each.")
    asked.add_argument(
        "part", nargs="?", default="", help="only laws with this in their words or in their module's name"
    )
    asked.add_argument("--share", type=float, default=1.0, help="scale the number of cases, say 0.01")
    asked.add_argument("--list", action="store_true", help="only name the laws")
    options = asked.parse_args()
    sys.path[:0] = [str(HERE), str(HERE.parent / "daemon")]
    picked = [law for law in every_law(options.share) if options.part in f"{law[0]}: {law[1]}"]
    if options.list:
        print("\n".join(f"{module}: {words}" for module, words, _ in picked))
        return 0
    kept = [held(words, attempt) for _, words, attempt in picked]
    print(f"{sum(kept)} of {len(kept)} laws hold")
    return 0 if kept and all(kept) else 1


def every_law(share: float) -> Iterator[tuple[str, str, Callable[[], int]]]:
    """Name of the module, words and trial of each law."""
    for file in sorted(HERE.glob("laws_*.py")):
        laws = importlib.import_module(file.stem).laws
        scaled = {"share": share} if inspect.signature(laws).parameters else {}
        for words, attempt in laws(**scaled):
            yield file.stem.removeprefix("laws_"), words, attempt


def held(words: str, attempt: Callable[[], int]) -> bool:
    """Try a law and say how it went."""
    began = time.monotonic()
    try:
        cases = attempt()
    except Exception as error:
        said = str(error) if isinstance(error, AssertionError) and str(error) else traceback.format_exc()
        print(f"BROKEN          {words}  ({time.monotonic() - began:.0f} s)\n{said}", flush=True)
        return False
    print(f"ok  {cases:>10,}  {words}  ({time.monotonic() - began:.0f} s)", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
