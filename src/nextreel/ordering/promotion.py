"""Promoted places: whose they are, and who among the promoted gets them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nextreel.ordering.params import PromoteParams
from nextreel.types import UNKNOWN, Catalogue, FloatArray, Moment, NextreelError, RowArray


@dataclass(frozen=True, slots=True)
class Promotion:
    """The promoted videos of one catalogue, and the places of a list that are theirs."""

    rows: RowArray
    fixed: Sequence[int] = ()
    share: float = 0.0
    most: int | None = None

    def places(
        self, moment: Moment, value: FloatArray, k: int, begun: RowArray
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The promoted places of a list of k, ascending, and the position of the video for each, best value first.

        Where there are more places than promoted videos among the candidates, the first ones are taken. What was begun
        is a candidate for the places that it may go on in, not for these.
        """
        among = np.flatnonzero(np.isin(moment.rows, self.rows) & ~np.isin(moment.rows, begun))
        places = self._slots(k, len(among))
        return places, among[np.argsort(-value[among], kind="stable")][: len(places)]

    def _slots(self, k: int, videos: int) -> NDArray[np.intp]:
        most = videos if self.most is None else min(videos, self.most)
        if self.fixed:
            return np.array([place for place in sorted(self.fixed) if place < k][:most], np.intp)
        many = min(int(self.share * k + 1e-9), most)  # 0.3 * 10 is a little less than 3
        return np.arange(1, many + 1) * k // (many + 1)


def promotion(params: PromoteParams, catalogue: Catalogue) -> Promotion | None:
    """The promotion of a catalogue's videos, None where nothing is promoted.

    Raises `NextreelError` for an id that the catalogue does not have; a video that was withdrawn is still there.
    """
    if not params.videos:
        return None
    rows = catalogue.rows(params.videos)
    if (rows == UNKNOWN).any():
        unknown = [video for video, row in zip(params.videos, rows.tolist(), strict=True) if row == UNKNOWN]
        raise NextreelError(
            f"Expected promoted videos of the catalogue, got {unknown}. Hint: take them out of [order.promote] videos, "
            'or write them as the catalogue does: 7 is not "7".'
        )
    return Promotion(rows, params.places, params.share, params.most)
