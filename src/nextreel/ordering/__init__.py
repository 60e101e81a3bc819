"""The final order: orderers choose positions among the judged candidates; they can invent nothing.

What is promoted, and what the person is in the middle of, is given its places first. Exploration comes last of all
orderers.
"""

from nextreel.ordering.caps import capped
from nextreel.ordering.chain import Arranged, arrange, orderers
from nextreel.ordering.diversity import diverse, dpp
from nextreel.ordering.explanation import explained
from nextreel.ordering.exploration import explore
from nextreel.ordering.params import CapParams, DppParams, ExploreParams, OrderParams, PromoteParams
from nextreel.ordering.promotion import Promotion, promotion
from nextreel.ordering.resume import CONTINUE, NEXT, Begun, Resume, Resumed
from nextreel.ordering.values import by_value, fresh, standardised

__all__ = [
    "CONTINUE",
    "NEXT",
    "Arranged",
    "Begun",
    "CapParams",
    "DppParams",
    "ExploreParams",
    "OrderParams",
    "PromoteParams",
    "Promotion",
    "Resume",
    "Resumed",
    "arrange",
    "by_value",
    "capped",
    "diverse",
    "dpp",
    "explained",
    "explore",
    "fresh",
    "orderers",
    "promotion",
    "standardised",
]
