"""The Recommender: retrieve → filter → rank → order, with a trace and a ladder of fallbacks.

The same object serves a request, writes a batch, is evaluated and produces training rows.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

import numpy as np

from nextreel.features import compute
from nextreel.features.fusion import reciprocal
from nextreel.filters import not_watched
from nextreel.ordering import Arranged, Promotion, Resume, Resumed, arrange, explained
from nextreel.reasons import origins, reasons
from nextreel.types import (
    BoolArray,
    Catalogue,
    Codes,
    Feature,
    Filter,
    FloatArray,
    Matrix,
    Moment,
    NextreelError,
    Orderer,
    Ranker,
    Request,
    Retriever,
    RowArray,
    Slate,
    Trace,
    UserId,
    UserState,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nextreel.store import Counters

log = logging.getLogger(__name__)

_SPARE = 1.1  # proposals for each one of a quota: a few are withdrawn, or not for this person's age


class Store(Protocol):
    """What the pipeline reads: one state and the counters."""

    @property
    def counters(self) -> Counters:
        """The counters of every video."""
        ...

    def user(self, user_id: UserId | None) -> UserState:
        """The person's state now, not to be changed; an empty one for a person never heard of."""
        ...


@dataclass(frozen=True, slots=True)
class Source:
    """A retriever, how many eligible candidates it may propose, and what its rank of all candidates counts."""

    retriever: Retriever
    quota: int
    weight: float = 1.0  # in the joined order of all sources


Value = Callable[[FloatArray], FloatArray]  # (n, objectives) -> (n,): the declared formula that joins objectives


# Told of the candidates that were ranked, what the ranker read of them and its scores (n, objectives)
Witness = Callable[[Moment, Matrix, FloatArray], None]


def first_objective(objectives: FloatArray) -> FloatArray:
    """The first objective as it is."""
    return objectives[:, 0]


@dataclass(frozen=True, slots=True)
class Recommender:
    """The four stages of one release over one store."""

    catalogue: Catalogue
    store: Store
    sources: Sequence[Source]
    filters: Sequence[Filter]
    features: Sequence[Feature]
    ranker: Ranker | None  # None: candidates are ordered by how the sources rank them
    orderers: Sequence[Orderer]
    ranked: int  # candidates that are judged at most, or four times k if that is more
    fallback: Retriever  # what everybody watches: the last rung, filtered like all others
    release: str = ""
    per_place: float = 0.0  # proposals of all sources together for each place: long lists get more than the quotas
    value: Value = field(default=first_objective)
    codes: Codes = field(default_factory=dict)  # of what is text in profiles and requests
    promotion: Promotion | None = None  # whose places are given, not won
    resume: Resume | None = None  # the first places, for who is in the middle of something

    def recommend(self, request: Request, witness: Witness | None = None) -> Slate:
        """The slate for one request: min(k, eligible videos) videos without repeats.

        Raises `NextreelError` for k below 1. A source or ranker that fails is noted in the trace and done without. The
        witness, which may not raise, is called when candidates were ranked.
        """
        if request.k < 1:
            raise NextreelError(f"Expected k of at least 1, got {request.k}.")
        user = self.store.user(request.user_id)
        trace = Trace()
        try:
            candidates = self._candidates(request, user, trace)
            moment = self.promising(candidates)
            proposed, level = len(moment), "full"
            moment, resumed = self._invite(moment, candidates, [source.retriever for source in self.sources], trace)
        except Exception as error:  # a broken filter or every source failing: the last rung answers
            log.exception("retrieval failed", extra={"request_id": request.request_id})
            trace.failures["retrieval"] = repr(error)
            moment, level = self._last_rung(request, user, trace), "trending"
            proposed = len(moment)
            moment, resumed = self._invite(moment, moment, [self.fallback], trace)
        matrix, objectives = None, np.empty((len(moment), 0), np.float32)
        if level == "full" and self.ranker is not None and len(moment):
            try:
                matrix, objectives, value = self._rank(moment, trace)
            except Exception as error:
                log.exception("ranking failed", extra={"request_id": request.request_id})
                trace.failures["ranker"] = repr(error)
                value, level = fused(moment), "unranked"
            else:
                if witness is not None:
                    witness(moment, matrix, objectives)
        else:
            value = fused(moment)
        with _timed(trace, "order"):
            arranged = arrange(moment, value, self.orderers, trace, self.promotion, proposed, resumed)
        slate = self._slate(moment, objectives, value, arranged, trace, level, proposed)
        if not request.explain:
            return slate
        with _timed(trace, "explain"):
            return replace(slate, explanation=explained(arranged, value, self.ranker, matrix, trace))

    def trending(self, request: Request) -> Slate:
        """The slate of what everybody watches, through the same filters; k and the person are the request's."""
        trace = Trace()
        moment = self._last_rung(request, self.store.user(request.user_id), trace)
        none = np.empty((len(moment), 0), np.float32)
        with _timed(trace, "order"):
            arranged = arrange(moment, moment.scores[:, 0], self.orderers, trace)
        return self._slate(moment, none, moment.scores[:, 0], arranged, trace, "trending", len(moment))

    def keeps(self, request: Request, rows: RowArray) -> BoolArray:
        """(n,) True for each row that every filter keeps for this request, or with which its list begins."""
        bare = self._bare(request, self.store.user(request.user_id), rows)
        kept = np.isin(rows, self._eligible(bare, Trace()))
        bare.request = replace(request, k=len(self.catalogue))  # however small a page is
        resumed = self._resumed(bare, Trace())
        return kept if resumed is None else kept | np.isin(rows, resumed.rows)

    def alone(self, source: str) -> Recommender:
        """The recommender of one source, filtered and unranked. Raises `NextreelError` for a name it does not have."""
        chosen = [one for one in self.sources if one.retriever.name == source]
        if not chosen:
            names = ", ".join(one.retriever.name for one in self.sources)
            raise NextreelError(f"No source '{source}' in release {self.release}. Hint: one of {names}.")
        return replace(self, sources=chosen, ranker=None, orderers=(), per_place=0.0, promotion=None, resume=None)

    def gather(self, request: Request, rows: RowArray | None = None, trace: Trace | None = None) -> Moment:
        """The moment of what the sources propose and the filters keep, or of the given rows as they are.

        Ranks of given rows are taken among the same candidates, so a pair gets the same features either way, for
        requests of one k: a longer list may have more candidates, among which ranks are others. The trace is told how
        many each source proposed.
        """
        user = self.store.user(request.user_id)
        moment = self._candidates(request, user, Trace() if trace is None else trace)
        return moment if rows is None else self.among(moment, rows)

    def among(self, candidates: Moment, rows: RowArray) -> Moment:
        """The moment of the given rows as they are, ranked among the candidates that `gather` gave."""
        return self._judge(candidates, np.asarray(rows, np.int32), [source.retriever for source in self.sources])

    def matrix(self, moment: Moment) -> Matrix:
        """Feature values of every candidate of the moment."""
        return compute(self.features, moment)

    def promising(self, moment: Moment) -> Moment:
        """The candidates that all sources together rank best: as many as are worth the ranker's time."""
        width = max(self.ranked, 4 * moment.request.k)
        if len(moment) <= width:
            return moment
        return moment.take(np.sort(np.argpartition(-fused(moment), width)[:width]))

    def _invite(
        self, moment: Moment, among: Moment, retrievers: Sequence[Retriever], trace: Trace
    ) -> tuple[Moment, Resumed | None]:
        """The moment and, after its own, the videos that are given places, judged as candidates `among`; and which of
        them, or of its own, the person is in the middle of.

        Every filter keeps them: what one removes, or was withdrawn, is skipped. The trace counts them.
        """
        resumed = self._resumed(moment, trace)
        invited = [] if resumed is None else [resumed.rows]
        if self.promotion is not None:
            promoted = self._eligible(self._bare(moment.request, moment.user, self.promotion.rows), Trace())
            trace.promoted.update(configured=len(self.promotion.rows), eligible=len(promoted))
            invited.insert(0, promoted)
        if not invited:
            return moment, None
        rows = np.concatenate(invited)
        rows = rows[np.sort(np.unique(rows, return_index=True)[1])]
        rows = rows[~np.isin(rows, moment.rows)]
        if len(rows) == 0:
            return moment, resumed
        added = self._judge(among, rows, retrievers)
        joined = replace(
            moment,
            rows=np.concatenate([moment.rows, rows]),
            scores=np.concatenate([moment.scores, added.scores]),
            ranks=np.concatenate([moment.ranks, added.ranks]),
            memo={},  # of the rows it had
            liked={},
        )
        return joined, resumed

    def _resumed(self, moment: Moment, trace: Trace) -> Resumed | None:
        """What the person is in the middle of and every filter keeps but `not_watched`; None where there is nothing."""
        if self.resume is None or not (moment.user.partly or self.catalogue.series_ids):
            return None
        begun = self.resume.begun(moment)
        if len(begun.rows) == 0:
            return None
        bare = self._bare(moment.request, moment.user, begun.rows)
        eligible = self._eligible(bare, Trace(), [keep for keep in self.filters if keep is not not_watched])
        trace.resumed.update(begun=len(begun.rows), eligible=len(eligible))
        found = self.resume.chosen(begun, eligible, moment)
        return found if len(found.rows) else None

    def _rank(self, moment: Moment, trace: Trace) -> tuple[Matrix, FloatArray, FloatArray]:
        ranker = self.ranker
        if ranker is None:
            raise NextreelError("Expected a ranker, got a release without one.")
        with _timed(trace, "features"):
            matrix = self.matrix(moment)
        with _timed(trace, "rank"):
            objectives = ranker.score(matrix)
            value = self.value(objectives)
            if value.shape != (len(moment),) or not np.isfinite(value).all():
                raise NextreelError(
                    f"Expected {len(moment)} finite scores from the ranker, got {value.size} with "
                    f"{value.size - np.count_nonzero(np.isfinite(value))} NaN or infinite."
                )
        return matrix, objectives, value

    def _candidates(self, request: Request, user: UserState, trace: Trace) -> Moment:
        """Eligible candidates with scores and ranks; widened until k are eligible or nothing is left to propose."""
        widen = max(1.0, self.per_place * request.k / sum(source.quota for source in self.sources))
        while True:
            proposals, kept, union = self._propose(request, user, trace, widen)
            enough = len(kept) >= request.k or all(len(rows) >= len(self.catalogue) for rows in proposals.values())
            if enough or all(s.quota * widen >= len(self.catalogue) for s in self.sources):
                break
            widen *= 4
        if len(kept) < request.k:  # no source proposes more: what everybody watches fills up
            rest = self._eligible(self._bare(request, user, np.arange(len(self.catalogue), dtype=np.int32)), Trace())
            rest = rest[~np.isin(rest, kept)]
            best = np.argsort(-self.fallback.score(request, user, rest), kind="stable")[: request.k - len(kept)]
            kept = np.concatenate([kept, rest[best]])
        trace.candidates, trace.eligible = len(union), len(kept)
        with _timed(trace, "score"):
            scores = self._scores(request, user, kept, [source.retriever for source in self.sources], trace)
        names = tuple(source.retriever.name for source in self.sources)
        weights = np.array([source.weight for source in self.sources], np.float32)
        counters = self.store.counters
        return Moment(request, user, self.catalogue, counters, kept, names, scores, _ranks(scores), weights, self.codes)

    def _propose(
        self, request: Request, user: UserState, trace: Trace, widen: float
    ) -> tuple[dict[str, RowArray], RowArray, RowArray]:
        """What each source proposes; of it the eligible rows within the quotas; and all rows proposed."""
        proposals: dict[str, RowArray] = {}
        quotas = {source.retriever.name: math.ceil(source.quota * widen) for source in self.sources}
        with _timed(trace, "retrieve"):
            for source in self.sources:
                name = source.retriever.name
                wanted = math.ceil(quotas[name] * _SPARE) + len(request.exclude)
                try:
                    proposals[name] = source.retriever.retrieve(request, user, min(wanted, len(self.catalogue)))[0]
                except Exception as error:
                    log.exception("source %s failed", name, extra={"request_id": request.request_id})
                    trace.failures[name] = repr(error)
            union = self._distinct(self._together(proposals, trace))
        with _timed(trace, "filter"):
            trace.removed.clear()
            eligible = np.zeros(len(self.catalogue), np.bool_)
            eligible[self._eligible(self._bare(request, user, union), trace)] = True
            within = {name: rows[eligible[rows]][: quotas[name]] for name, rows in proposals.items()}
            trace.proposed.update((name, len(rows)) for name, rows in within.items())
        return proposals, self._distinct(np.concatenate(list(within.values()))), union

    def _distinct(self, rows: RowArray) -> RowArray:
        """The rows without repeats, ascending."""
        among = np.zeros(len(self.catalogue), np.bool_)
        among[rows] = True
        return among.nonzero()[0].astype(np.int32)

    def _together(self, proposals: dict[str, RowArray], trace: Trace) -> RowArray:
        """All proposals end to end, less those of a source with a row that is not in the catalogue: it has failed.

        Raises `NextreelError` when no source is left.
        """
        n = len(self.catalogue)
        if proposals:
            together = np.concatenate(list(proposals.values()), dtype=np.int32, casting="same_kind")
            if len(together) == 0 or together.view(np.uint32).max() < n:  # read so, a negative row is a large one
                return together
        for name, rows in list(proposals.items()):
            if len(rows) and not 0 <= rows.min() <= rows.max() < n:
                log.error("source %s proposed rows outside the catalogue", name)
                trace.failures[name] = f"Expected rows from 0 to {n - 1}, got {rows.min()} to {rows.max()}."
                del proposals[name]
        if not proposals:
            raise NextreelError("Expected candidates from at least one source; every source failed.")
        return np.concatenate(list(proposals.values()))

    def _bare(self, request: Request, user: UserState, rows: RowArray) -> Moment:
        """A moment of rows that nothing has scored yet: all that filters look at."""
        return Moment.unscored(request, user, self.catalogue, self.store.counters, rows, self.codes)

    def _eligible(self, moment: Moment, trace: Trace, filters: Sequence[Filter] | None = None) -> RowArray:
        """The rows that every filter, or each of the given ones, keeps; the trace counts what each removed."""
        for keep in self.filters if filters is None else filters:
            mask = keep(moment)
            removed = len(mask) - int(np.count_nonzero(mask))
            trace.removed[keep.__name__] = removed
            if removed:
                moment = moment.take(mask)
        return moment.rows

    def _scores(
        self, request: Request, user: UserState, rows: RowArray, retrievers: Sequence[Retriever], trace: Trace
    ) -> FloatArray:
        """(n, S) score of every source for every row; a column of NaN for a source that fails."""
        scores = np.full((len(retrievers), len(rows)), np.nan, np.float32).T  # each source in one piece
        for column, retriever in enumerate(retrievers):
            try:
                scores[:, column] = retriever.score(request, user, rows)
            except Exception as error:
                log.exception("source %s failed", retriever.name, extra={"request_id": request.request_id})
                trace.failures[retriever.name] = repr(error)
        return scores

    def _judge(self, candidates: Moment, rows: RowArray, retrievers: Sequence[Retriever]) -> Moment:
        """The moment of the given rows, ranked among the candidates of the same sources."""
        request, user = candidates.request, candidates.user
        scores = self._scores(request, user, rows, retrievers, Trace())
        ranks = np.empty_like(scores)
        for column in range(scores.shape[1]):
            among = np.sort(-candidates.scores[:, column])
            ranks[:, column] = np.searchsorted(among, -scores[:, column], side="left")
        ranks[np.isnan(scores)] = np.nan
        # a product over other rows may round otherwise: a candidate keeps the very numbers that it has as one
        place = np.full(len(self.catalogue), -1)
        place[candidates.rows] = np.arange(len(candidates))
        place = place[rows]
        scores[place >= 0] = candidates.scores[place[place >= 0]]
        ranks[place >= 0] = candidates.ranks[place[place >= 0]]
        counters, sources, weights = self.store.counters, candidates.sources, candidates.weights
        return Moment(request, user, self.catalogue, counters, rows, sources, scores, ranks, weights, self.codes)

    def _last_rung(self, request: Request, user: UserState, trace: Trace) -> Moment:
        """What everybody watches, through the same filters; a filter that fails here fails the request."""
        everything = np.arange(len(self.catalogue), dtype=np.int32)
        rows = self._eligible(self._bare(request, user, everything), trace)
        scores = self.fallback.score(request, user, rows)[:, None]
        best = np.argsort(-scores[:, 0], kind="stable")[: request.k]
        counters = self.store.counters
        names = (self.fallback.name,)
        rows, scores, weight = rows[best], scores[best], np.ones(1, np.float32)
        return Moment(request, user, self.catalogue, counters, rows, names, scores, _ranks(scores), weight, self.codes)

    def _slate(
        self,
        moment: Moment,
        objectives: FloatArray,
        value: FloatArray,
        arranged: Arranged,
        trace: Trace,
        level: str,
        proposed: int,
    ) -> Slate:
        positions, promoted = arranged.positions, arranged.promoted
        rows = moment.rows[positions]
        sources = origins(moment, positions, promoted, arranged.resumed, proposed)
        return Slate(
            request=moment.request,
            rows=rows,
            video_ids=self.catalogue.video_ids[rows].tolist(),
            value=value[positions],
            objectives=objectives[positions],
            sources=sources,
            reasons=reasons(moment, positions, sources),
            propensities=arranged.propensities,
            promoted=promoted,
            trace=trace,
            release=self.release,
            level=level,
        )


def _ranks(scores: FloatArray) -> FloatArray:
    """(n, S) how many rows each source scores higher; NaN where it has no score."""
    falling = -scores.T  # (S, n): each source in one piece
    size = falling.shape[1]
    order = falling.argsort(axis=1)  # NaN comes last
    order += (np.arange(len(falling)) * size)[:, None]  # places in the flat array
    flat = falling.ravel()
    ordered = flat[order]
    places = np.broadcast_to(np.arange(size, dtype=np.float32), falling.shape).copy()
    places[:, 1:][ordered[:, 1:] == ordered[:, :-1]] = 0  # of equals, only the first knows its place
    np.maximum.accumulate(places, axis=1, out=places)
    ranks = np.empty_like(flat)
    ranks[order] = places
    ranks[np.isnan(flat)] = np.nan
    return ranks.reshape(falling.shape).T


def fused(moment: Moment) -> FloatArray:
    """(n,) what orders candidates that no ranker judged: the score of a source that is alone, else all their ranks.

    Ranks are joined by weighted reciprocal rank fusion.
    """
    if len(moment.sources) == 1:
        scores = moment.scores[:, 0]
        unscored = np.isnan(scores)
        return np.where(unscored, scores[~unscored].min(initial=0.0) - 1.0, scores).astype(np.float32)
    return reciprocal(moment.ranks) @ moment.weights


@contextmanager
def _timed(trace: Trace, stage: str) -> Iterator[None]:
    started = perf_counter()
    try:
        yield
    finally:
        spent = (perf_counter() - started) * 1000
        trace.milliseconds[stage] = trace.milliseconds.get(stage, 0.0) + spent
