"""A running system: one release, the state beside it, and the log that moves the state on. `opening` makes one."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any

import msgspec
import numpy as np

from nextreel.backends import ClosableEventLog, ClosableKeyValue
from nextreel.declared import RESET, DeclaredValue
from nextreel.feature_log import MOVED, FeatureLog, Seen
from nextreel.features.describe import Description
from nextreel.features.person import of_person
from nextreel.forgetting import Places, Receipt, forget
from nextreel.growing import Growing
from nextreel.paging import Page, Pages
from nextreel.ranking.value import formula
from nextreel.registry import Registry
from nextreel.retrieval.index import VectorIndexError
from nextreel.slates import Asked, Slates
from nextreel.store import LiveStore
from nextreel.telemetry import observe_applied, timed
from nextreel.types import (
    BoolArray,
    Catalogue,
    Conflict,
    Event,
    FloatArray,
    IdArray,
    Kind,
    Matrix,
    Moment,
    NextreelError,
    Request,
    RowArray,
    Slate,
    UserId,
    UserState,
    VideoId,
    integer_or_text,
    session_person,
)
from nextreel.uploads import Change, Upload, entering
from nextreel.why import Why, why

log = logging.getLogger(__name__)

FOLLOW_EVERY = 0.1  # seconds between looks at the log for what other processes wrote


class System:
    """Everything that a door needs; safe between threads."""

    def __init__(
        self,
        growing: Growing,
        store: LiveStore,
        log: ClosableEventLog,
        shared: ClosableKeyValue,
        registry: Registry,
        *,
        metrics: dict[str, Any],
        clock: Callable[[], float],
        value: str,
        declared: DeclaredValue,
        places: Places,
        feature_log: FeatureLog | None = None,
        slates: Slates | None = None,
    ) -> None:
        self._growing = growing
        self.recommender = growing.recommender
        self.store = store
        store.applied = lambda at: observe_applied(at, clock())
        self.shared = shared  # what all processes of the home know together, beside releases and log
        self.registry = registry
        self.release: str = self.recommender.release
        self.release_metrics = metrics
        self.now = clock
        self._log = log
        self._declared, self._own_value = declared, value
        self.value = value  # the formula that lists are ordered by now
        self.value_problem: NextreelError | None = None  # why a declared formula is not followed
        self._adopting = threading.Lock()
        self._adopted = growing.recommender  # the one that the formula was joined with
        self._revalue()
        self._feature_log = feature_log
        self._places = places
        self._slates = Slates() if slates is None else slates
        self._followed = -np.inf
        self._integer_users = any(isinstance(user_id, int) for user_id in store.users()[:1])

    @property
    def catalogue(self) -> Catalogue:
        """All videos there are now: one that is given out goes on to hold, and rows stay in those that follow it."""
        self.follow()
        return self.recommender.catalogue

    def newest_catalogue(self) -> Catalogue:
        """All videos there are, also those that another process was told of less than a look ago."""
        self._catch_up()
        return self.recommender.catalogue

    @property
    def data_end(self) -> float:
        """One second after the newest event known."""
        return self.store.newest_at + 1.0

    def recommend(self, request: Request) -> Slate:
        """The slate for the request, from the state of now; it may be that of an equal request."""
        self.follow()
        if not self._slates.shares(request):
            return self._computed(request)
        recommender = self.recommender
        edition = f"{self.release} {recommender.catalogue.changes} {self.value}"
        asked = Asked(request, recommender.store.user(request.user_id), recommender, edition)
        return self._slates.get(asked, self._computed)

    def _computed(self, request: Request) -> Slate:
        feature_log = self._feature_log
        if feature_log is None or not feature_log.takes(request):
            return self.recommender.recommend(request)
        before = self.store.counted
        recommender = self.recommender  # after the counters: those of an older one would not count on

        def witness(moment: Moment, matrix: Matrix, scores: FloatArray) -> None:
            # counters that moved while they were read belong to no one offset: such a row is told apart
            still = before is not None and before == self.store.counted
            video_ids = moment.catalogue.video_ids[moment.rows]
            counted = before if still and before is not None else MOVED
            changes = moment.catalogue.changes
            feature_log.add(Seen(request, moment.user, counted, video_ids, matrix.values, scores, changes))

        return recommender.recommend(request, witness)

    def page(self, request: Request) -> Page:
        """The first page, of the request's k videos, of a list that goes on while anything may be shown."""
        return self._pages.first(request)

    def next_page(self, cursor: str, user_id: UserId | None, k: int, at: float, request_id: str) -> Page:
        """The page that follows the one with the cursor. Raises `UnknownCursor` for one that has expired."""
        self.follow()
        return self._pages.next(cursor, user_id, k, at, request_id)

    @property
    def _pages(self) -> Pages:
        def keeps(request: Request, rows: RowArray) -> BoolArray:
            return self.recommender.keeps(request, rows)

        return Pages(self.shared, self.recommend, keeps, lambda: self.recommender.catalogue)

    def trending(self, request: Request) -> list[tuple[VideoId, float]]:
        """At most k eligible videos that everybody watches now, best first, and their share of all plays."""
        self.follow()
        slate = self.recommender.trending(request)
        scored = zip(slate.video_ids, slate.value.tolist(), strict=True)
        return sorted(scored, key=lambda one: -one[1])  # by share alone, whatever the final order moved

    def why(self, request: Request, video_id: VideoId) -> Why:
        """What becomes of the video in the list for this request. Raises `NextreelError` for an unknown id."""
        self.follow()
        recommender = self.recommender
        return why(recommender, request, self._row(recommender.catalogue, video_id))

    def _row(self, catalogue: Catalogue, video_id: VideoId) -> int:
        row = catalogue.row_of.get(video_id)
        if row is None:
            raise NextreelError(f"No video {video_id!r} in release {self.release}.")
        return row

    def features_of(self, user_id: UserId) -> tuple[UserState, list[tuple[Description, float]]]:
        """The person's state now, and each feature of the person alone that the release computes, with its value."""
        self.follow()
        recommender, nothing = self.recommender, np.empty(0, np.int32)
        user, counters = recommender.store.user(user_id), recommender.store.counters
        request = Request(user_id, self.now())
        moment = Moment.unscored(request, user, recommender.catalogue, counters, nothing, recommender.codes)
        return user, of_person(recommender.features, moment)

    def similar(self, video_id: VideoId, request: Request) -> list[tuple[VideoId, float]]:
        """At most k videos most like this one that the request may be answered with, best first, and their likeness.

        Those that the same people watched; where these are too few, as for a new video, those whose vectors are
        nearest. Raises `NextreelError` for an id that is not in the catalogue.
        """
        self.follow()
        models, recommender = self._growing.models, self._growing.recommender  # in this order: rows never end
        catalogue = recommender.catalogue
        row = self._row(catalogue, video_id)
        found: dict[int, float] = {}
        for model in (models.ease, models.item_item, models.two_tower):
            if model is None or row >= len(model):
                continue
            asked, more = 2 * request.k + 10, True
            while more and len(found) < request.k:  # most may be what may not be shown
                try:
                    rows, scores = model.similar(row, min(asked, len(model)))
                except VectorIndexError:  # the others' videos are worth showing; /health tells that Milvus is away
                    log.exception("similar videos are found without vectors")
                    break
                kept = recommender.keeps(request, rows) & (rows != row)
                for other, score in zip(rows[kept].tolist(), scores[kept].tolist(), strict=True):
                    found.setdefault(other, score)
                asked, more = 4 * asked, len(rows) >= asked
        ids = catalogue.video_ids
        return [(_plain(ids, other), score) for other, score in list(found.items())[: request.k]]

    def feedback(self, events: Sequence[Event]) -> list[int]:
        """Offset of each event; they are durable, and the next answer of this process knows them.

        Where they cannot be applied now they are later: who is told of an error would send them again.
        """
        with timed("append"):
            offsets = self._log.append(events)
        try:
            with timed("follow"):
                self._catch_up()
        except Exception:
            log.exception("feedback is in the log, but cannot be applied yet")
        return offsets

    def upload(self, uploads: Sequence[Upload]) -> list[tuple[VideoId, bool]]:
        """Id of each video and whether it is new: all are in the catalogue, or told anew, or none where one is wrong.

        They are kept for all processes of the home, whose next lists know them; a new one without a time of
        publication is published now. Raises `WrongUpload` as `entering` does.
        """
        while True:
            self._catch_up()
            catalogue = self.recommender.catalogue
            dated = tuple(self._dated(one, catalogue) for one in entering(uploads, catalogue))
            if self._kept(Change(time.time(), uploads=dated), catalogue):
                return [(one.video_id, one.video_id not in catalogue.row_of) for one in dated]

    def withdraw(self, video_id: VideoId) -> None:
        """Takes a video out of every list; what was done with it still counts. Raises `NextreelError` where none is."""
        while True:
            self._catch_up()
            catalogue = self.recommender.catalogue
            gone = not catalogue.available[self._row(catalogue, video_id)]
            if gone or self._kept(Change(time.time(), withdrawn=(video_id,)), catalogue):
                return

    def _dated(self, upload: Upload, catalogue: Catalogue) -> Upload:
        """The upload with a time of publication: its own, else the one that is known, else now."""
        if upload.published_at is not None:
            return upload
        row = catalogue.row_of.get(upload.video_id)
        at = self.now() if row is None else float(catalogue.published_at[row])
        return upload if np.isnan(at) else msgspec.structs.replace(upload, published_at=at)

    def _kept(self, change: Change, catalogue: Catalogue) -> bool:
        """Whether the change of this catalogue was written, and holds here; not where somebody else was quicker."""
        try:
            self._growing.append(change, catalogue)
        except Conflict:
            return False
        self._catch_up()
        return True

    def merge(self, session_id: str, user_id: UserId, at: float) -> bool:
        """Whether the session had done anything, which is the person's from now on; later deeds are a new session's."""
        self._catch_up()
        if self.store.user(session_person(session_id)).version == 0:
            return False
        self.feedback([Event(user_id, at, Kind.MERGE, session_id=session_id)])
        return True

    def forget(self, user_id: UserId) -> Receipt:
        """Removes what the home knows of the person; every process has followed when it answers next."""
        receipt = forget(self._places, user_id, self.now())
        self._catch_up()
        return receipt

    def follow(self) -> None:
        """Learns what other processes wrote and declared; looks at most every tenth of a second."""
        now = time.monotonic()
        if now - self._followed > FOLLOW_EVERY:
            self._followed = now
            with timed("follow"):
                self._catch_up()
                if self._declared.moved():
                    self._revalue()

    def _catch_up(self) -> None:
        """Applies what the log and the changes of the catalogue hold."""
        self.store.follow()
        if self._growing.recommender is not self._adopted:
            self._revalue()

    def _revalue(self) -> None:
        """Orders lists by what is declared now; a formula that this release cannot follow changes nothing.

        So a system opens whatever is declared: by its release's own formula, and degraded.
        """
        with self._adopting:
            recommender, followed = self._growing.recommender, self.recommender.value
            try:
                text, ranker = self._declared.read() or self._own_value, recommender.ranker
                value = recommender.value if ranker is None else formula(text, ranker.objectives)
            except NextreelError as error:
                hint = "" if RESET in str(error) else f" {RESET}"
                log.error("the declared value formula cannot be followed: %s%s", error, hint)  # noqa: TRY400  no defect
                self.value_problem = NextreelError(f"{error}{hint}")
                value, text = followed, self.value
            else:
                self.value_problem = None
            self.recommender, self.value, self._adopted = replace(recommender, value=value), text, recommender

    def resolve_user(self, text: str) -> UserId:
        """The id as the data have it: an integer where theirs are and the text is one."""
        return integer_or_text(text) if self._integer_users else text

    def resolve_video(self, text: str) -> VideoId:
        """The id as the catalogue has it: an integer where its ids are and the text is one."""
        return integer_or_text(text) if self.catalogue.video_ids.dtype.kind == "i" else text

    def health(self) -> list[tuple[str, str, float]]:
        """Name, status (healthy, degraded, unhealthy) and milliseconds of each part."""
        checks: list[tuple[str, Callable[[], bool]]] = [  # whether all is as it should be
            ("state", lambda: self.store.user(0) is not None),
            ("event_log", lambda: self._log.read(2**62, 1) is not None),
            ("value", lambda: self.value_problem is None),
            ("pipeline", self._answers_in_full),
        ]
        if self._growing.vectors is not None:
            checks.insert(-1, ("vectors", self._growing.vectors.up_to_date))
        return [(name, *_checked(check)) for name, check in checks]

    def _answers_in_full(self) -> bool:
        """Whether an answer comes from the uppermost rung; a release without a ranker has none above it."""
        return self.recommender.recommend(Request(None, self.data_end, k=1)).level == "full"

    def close(self) -> None:
        """Lets go of the state and the logs."""
        if self._feature_log is not None:
            self._feature_log.close()
        self._slates.close()
        self.store.close()
        self.shared.close()
        self._log.close()
        if self._growing.vectors is not None:
            self._growing.vectors.close()


def _plain(ids: IdArray, row: int) -> VideoId:
    one = ids[row]
    plain: VideoId = one.item() if isinstance(one, np.generic) else one
    return plain


def _checked(check: Callable[[], bool]) -> tuple[str, float]:
    started = perf_counter()
    try:
        status = "healthy" if check() else "degraded"
    except Exception:  # whatever is broken, the answer is that it is
        status = "unhealthy"
    return status, (perf_counter() - started) * 1000
