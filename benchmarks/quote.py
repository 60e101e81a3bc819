"""Puts the measured results into the documentation, so that no figure there is typed by hand.

A block that starts with `<!-- quote: benchmarks/results/NAME.md -->` and ends with `<!-- end quote -->` is replaced
by that file's text. `--check` changes nothing and exits with 1 when a document differs from the results.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"(<!-- quote: (?P<file>[^ ]+) -->\n).*?(<!-- end quote -->)", re.DOTALL)


def quoted(text: str) -> str:
    """The document's text with every block as its file has it now."""
    return BLOCK.sub(lambda match: match[1] + (ROOT / match["file"]).read_text(encoding="utf-8") + match[3], text)


def main() -> int:
    """0, or 1 when `--check` found a document that differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing, exit with 1 when something differs")
    check: bool = parser.parse_args().check
    stale = []
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        before = path.read_text(encoding="utf-8")
        after = quoted(before)
        if after != before:
            stale.append(path.relative_to(ROOT))
            if not check:
                path.write_text(after, encoding="utf-8")
    for one in stale:
        print(f"{'differs from its results' if check else 'updated'}: {one}")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
