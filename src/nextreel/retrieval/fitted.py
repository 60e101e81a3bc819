"""A fitted model over a catalogue that has grown since: it knows nothing of the videos that came later."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from nextreel.history import History
from nextreel.retrieval._arrays import Cache
from nextreel.store import within
from nextreel.types import FloatArray, Request, Retriever, RowArray, UserState

_REMEMBERED = 1024  # histories of people who met a later video, without it


class Fitted(Retriever, Protocol):
    """A retriever whose arrays have an entry for each row that it was fitted on."""

    def __len__(self) -> int:
        """How many rows it was fitted on."""
        ...


@dataclass(frozen=True)
class Beneath:
    """The model's own proposals and scores; later videos get no score, and are left out of what it hears of a person.

    >>> from nextreel.retrieval.als import Als, AlsParams
    >>> beneath = Beneath(Als(np.eye(2, dtype=np.float32), AlsParams(factors=2)))
    >>> beneath.score(Request(1, 0.0), UserState(1), np.array([0, 7], np.int32))
    array([nan, nan], dtype=float32)
    """

    model: Fitted
    _histories: Cache[History] = field(
        default_factory=lambda: Cache[History](_REMEMBERED, "earlier_histories"), init=False, repr=False, compare=False
    )

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.name

    def _heard(self, user: UserState) -> UserState:
        history, n = user.history, len(self.model)
        if len(history) == 0 or history.rows.max() < n:
            return user
        # the same object for the same history: the model remembers people by its stamp
        return replace(user, history=self._histories.get(history, lambda *_: within(history, n)))

    def retrieve(self, request: Request, user: UserState, n: int) -> tuple[RowArray, FloatArray]:
        """At most n rows outside the history, best first, and their scores."""
        return self.model.retrieve(request, self._heard(user), n)

    def score(self, request: Request, user: UserState, rows: RowArray) -> FloatArray:
        """The score of each of the rows; NaN for one that came later."""
        known = rows < len(self.model)
        scores = np.full(len(rows), np.nan, np.float32)
        scores[known] = self.model.score(request, self._heard(user), rows[known])
        return scores


def fitting(model: Fitted | None, videos: int) -> Retriever | None:
    """The model as a retriever over so many videos; itself where it was fitted on all of them."""
    return model if model is None or len(model) >= videos else Beneath(model)
