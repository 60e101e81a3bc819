"""Why a video is shown: one short sentence for each place of a slate."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from nextreel.types import BoolArray, Moment

_WHY = {
    "two_tower": "fits what you watched, in the order you watched it",
    "als": "people with your taste watched it",
    "ease": "often watched by those who watched the same videos",
    "item_item": "goes together with videos you watched",
    "transitions": "what people watch after the videos you watched last",
    "popular_all": "one of the most watched videos",
    "popular_7d": "much watched this week",
    "popular_1d": "much watched today",
    "trending": "rising now",
    "similar": "similar to a video you watched last",
    "multi_query": "fits one of your interests",
    "fresh": "just published",
    "subscribed": "new on a channel you follow",
    "promoted": "promoted",
    "continue_watching": "go on where you stopped",
    "next_episode": "the next episode of a series you watch",
}
_PERSONAL = frozenset({"two_tower", "als", "ease", "item_item", "transitions", "similar", "multi_query"})
_RECENT = 20  # newest liked videos among which one to name is looked for
_ALIKE = np.float32(0.8)  # cosine of the categories from which a video may be named


def origins(
    moment: Moment, positions: NDArray[np.intp], promoted: BoolArray, resumed: Mapping[int, str], proposed: int
) -> list[str]:
    """The source of the video at each place: the one that ranks it best, "promoted", or "eligible" where none does.

    A place that was given to what the person is in the middle of has the source that `resumed` tells. The first
    `proposed` candidates of the moment are those of the sources.
    """
    # what a source scores lowest, like others, it did not choose: an old video is not there for being new
    scores, ranks = moment.scores[:proposed], moment.ranks[positions]
    lowest = np.fmin.reduce(scores, axis=0, initial=np.inf)
    alike = np.count_nonzero(scores == lowest, axis=0) > 1
    unranked = np.isnan(ranks) | ((moment.scores[positions] == lowest) & alike)
    best = np.where(unranked.all(axis=1), -1, np.where(unranked, np.inf, ranks).argmin(axis=1))
    best[promoted] = -2
    found = [(*moment.sources, "promoted", "eligible")[column] for column in best.tolist()]
    for place, source in resumed.items():
        found[place] = source
    return found


def reasons(moment: Moment, positions: NDArray[np.intp], sources: list[str]) -> list[str]:
    """One short sentence for each place: why its source proposed it, and which recent video of the person it is like.

    Where several recent videos are equally like it, places take turns, so that a list does not name one all along.
    """
    history, catalogue = moment.user.history, moment.catalogue
    why = _WHY if len(history) else _WHY | {"two_tower": "a good place to start"}
    told = [why.get(source, "eligible for you") for source in sources]
    recent = history.liked[0][-_RECENT:][::-1]  # newest first
    personal = [place for place, source in enumerate(sources) if source in _PERSONAL]
    if len(recent) == 0 or not personal:
        return told
    shown = moment.rows[positions[personal]]
    length = catalogue.category_length[shown][:, None] * catalogue.category_length[recent]
    likeness = catalogue.categories[shown] @ catalogue.categories[recent].T / np.maximum(length, np.float32(1e-9))
    # of equals, each place prefers another one, the first place the newest
    turns = (np.arange(len(recent)) - np.arange(len(shown))[:, None]) % len(recent)
    nearest = (likeness - turns * np.float32(1e-4)).argmax(axis=1)
    found = likeness[np.arange(len(shown)), nearest] >= _ALIKE
    for place, alike, number in zip(personal, found.tolist(), nearest.tolist(), strict=True):
        if alike:
            told[place] += f", such as {catalogue.titles[recent[number]]}"
    return told
