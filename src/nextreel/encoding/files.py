"""Reading and writing the small JSON files of encoders, with errors that tell what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nextreel.types import NextreelError

EMBEDDINGS = "embeddings"  # the folder of vectors and of what makes them


class EncodingError(NextreelError):
    """Values an encoder cannot be fitted on, or a saved encoder that cannot be read."""


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes the content as JSON whose bytes depend on the content alone; makes the folder when needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, ensure_ascii=False, indent=0, sort_keys=True, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path, what: str, keys: tuple[str, ...]) -> dict[str, Any]:
    """The JSON object in the file, which has all the keys. Raises EncodingError when it has not."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EncodingError(
            f"Expected a saved {what} at {path}; got: {error}. Hint: train and publish the release again."
        ) from error
    if not isinstance(content, dict) or not set(keys) <= set(content):
        raise EncodingError(
            f"Expected the keys {', '.join(keys)} of a saved {what} in {path}. "
            "Hint: the file is of another version; train and publish the release again."
        )
    return content
