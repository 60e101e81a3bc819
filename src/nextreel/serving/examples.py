"""One example of every body that is asked or answered, by the name of its model; all are of one small release."""

from __future__ import annotations

from typing import Any, Final

RELEASE: Final = "20260101-000000-cdb007"
REQUEST: Final = "5d0c6e1f4b7a4c7c9a3f2e8d1b6a9c04"  # pragma: allowlist secret
CURSOR: Final = "b6f1d2a94c0e4f7b8d35a1e6c97f0284.1"

VIDEO = {"video_id": "v61", "title": "A Lecture on Photosynthesis", "score": 7.361675, "category": "Science"}
SIMILAR = {"video_id": "v102", "title": "Settlers of Mars: Full Walkthrough", "score": 0.000596, "category": "Gaming"}
RECOMMENDATION = VIDEO | {
    "source": "transitions",
    "promoted": False,
    "reason": "what people watch after the videos you watched last",
}
CONTEXT = {"device": "tv", "country": "NL", "surface": "home"}
FILTERS = {"categories": ["Science", "Travel"], "languages": ["en"], "max_maturity": 12, "max_age_days": 365}
SOURCE_RANK = {"source": "trending", "rank": 57}
CONTRIBUTION = {"feature": "rank_fresh", "adds": 1.142316}
CHECK = {"name": "event_log", "status": "healthy", "latency_ms": 0.076}
INVOCATION_ITEM = {"videoId": "v61", "score": 7.361675}
MODEL = {
    "version": RELEASE,
    "created_at": "2026-01-01T00:00:00.000Z",
    "stage": "production",
    "metrics": {"two_tower_hr@10": 0.05, "two_tower_index_kind": "flat"},
}

FEATURE = {"name": "watches", "value": 31.0, "unit": "events", "meaning": "watches in the history"}
STATE = {
    "version": 49,
    "events": 46,
    "impressions": 60,
    "clicks": 3,
    "watches": 31,
    "full_watches": 20,
    "watch_seconds": 9120.5,
    "subscribed": 1,
    "blocked": 0,
}
VARIANT = {"name": "control", "share": 0.5}
EXPERIMENT = {"name": "more-new-videos", "variants": [VARIANT, {"name": "treatment", "share": 0.5}]}

EXAMPLES: Final[dict[str, dict[str, Any]]] = {
    "ContextIn": CONTEXT,
    "FiltersIn": FILTERS,
    "RecommendationsIn": {
        "user_id": "person-7",
        "num_recommendations": 10,
        "context": CONTEXT,
        "filters": FILTERS,
        "exclude": ["v28"],
        "paged": True,
    },
    "FeedbackIn": {
        "user_id": "person-7",
        "event_type": "watch",
        "video_id": "v61",
        "watch_seconds": 312.5,
        "position": 0,
        "request_id": REQUEST,
        "event_id": "3f0e8a52-watch-1",
    },
    "VideoIn": {
        "video_id": "v121",
        "channel_id": "c1",
        "title": "How Bridges Sing",
        "category": "Science",
        "language": "en",
        "duration": 412.0,
        "tags": ["bridge", "sound"],
        "published_at": "2026-01-01T08:00:00Z",
    },
    "UploadedOut": {"video_id": "v121", "new": True},
    "UploadsOut": {"videos": [{"video_id": "v121", "new": True}], "request_id": REQUEST},
    "WithdrawnOut": {"status": "withdrawn", "video_id": "v121", "request_id": REQUEST},
    "MergeIn": {"user_id": "person-7"},
    "MergeOut": {"user_id": "person-7", "merged": True, "request_id": REQUEST},
    "ReceiptOut": {
        "receipt_id": "6f1c0e7a5b3d4c2e9f8a7b6c5d4e3f21",
        "erased_at": "2026-03-01T09:30:00.000Z",
        "digest": "91ab3c5d7e9f0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b",  # pragma: allowlist secret
        "counts": {"live states": 1, "snapshots": 1, "lists of people": 1, "event log": 12},
        "releases": [RELEASE],
        "request_id": REQUEST,
    },
    "InvocationIn": {"user_id": "person-7", "k": 5},
    "VideoOut": SIMILAR,
    "RecommendationOut": RECOMMENDATION,
    "RecommendationsOut": {
        "user_id": "person-7",
        "recommendations": [RECOMMENDATION],
        "cursor": CURSOR,
        "request_id": REQUEST,
        "model_version": RELEASE,
        "experiment_variant": None,
        "level": "full",
        "total_latency_ms": 10.984,
        "latency_ms": {"retrieve": 8.400473, "filter": 0.085138, "features": 0.468804, "rank": 0.418007},
    },
    "SourceRankOut": SOURCE_RANK,
    "ContributionOut": CONTRIBUTION,
    "WhyOut": {
        "user_id": "person-7",
        "video": {"video_id": "v2", "title": "Slow Cinema Explained", "score": 3.600004, "category": "Film & Series"},
        "outcome": "outranked",
        "told": "Judged: 108 of 109 candidates have a higher value, for 5 places.",
        "place": None,
        "removed_by": [],
        "proposed": True,
        "sources": [SOURCE_RANK, {"source": "transitions", "rank": None}],
        "candidates": 109,
        "judged": 109,
        "higher_valued": 108,
        "contributions": {"relevance": [CONTRIBUTION]},
        "moves": {},
        "request_id": REQUEST,
        "model_version": RELEASE,
        "total_latency_ms": 92.744,
    },
    "VideosOut": {
        "videos": [SIMILAR],
        "request_id": REQUEST,
        "model_version": RELEASE,
        "total_latency_ms": 0.092,
    },
    "FeedbackOut": {"status": "accepted", "event_id": "3f0e8a52-watch-1", "request_id": REQUEST},
    "FeedbacksOut": {"status": "accepted", "event_ids": ["3f0e8a52-watch-1", "3f0e8a52-like-1"], "request_id": REQUEST},
    "InvocationItemOut": INVOCATION_ITEM,
    "InvocationOut": {"userId": "person-7", "recommendations": [INVOCATION_ITEM]},
    "MissingOut": {"detail": "User 'nobody' not found"},
    "AliveOut": {"status": "alive"},
    "PingOut": {"status": "ok"},
    "ReadyOut": {"status": "ready"},
    "CheckOut": CHECK,
    "HealthOut": {
        "status": "healthy",
        "version": "0.1.0",
        "timestamp": "2026-11-22T17:04:27.411Z",
        "checks": [CHECK],
    },
    "ModelOut": MODEL,
    "ModelsOut": {"serving": RELEASE, "production": RELEASE, "models": [MODEL]},
    "ServesOut": {"production": RELEASE, "serving": RELEASE, "problem": None},
    "FeatureOut": FEATURE,
    "StateOut": STATE,
    "FeaturesOut": {
        "user_id": "person-7",
        "known": True,
        "newest_event_at": "2025-12-31T21:14:09.000Z",
        "newest_event_of_all_at": "2025-12-31T23:58:31.000Z",
        "state": STATE,
        "features": [FEATURE],
        "request_id": REQUEST,
        "model_version": RELEASE,
    },
    "VariantOut": VARIANT,
    "ExperimentOut": EXPERIMENT,
    "ExperimentsOut": {"assignment": "off", "experiments": []},
    "ProblemOut": {
        "type": "about:blank",
        "title": "Unprocessable Entity",
        "status": 422,
        "detail": "query.n: Input should be greater than or equal to 1",
        "instance": "/recommendations/person-7",
        "request_id": REQUEST,
        "errors": [{"field": "query.n", "message": "Input should be greater than or equal to 1"}],
    },
}
