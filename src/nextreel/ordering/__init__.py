"""The final order: orderers choose positions among the judged candidates; they can invent nothing.

Promoted videos are given their places first. Exploration comes last of all orderers.
"""

from nextreel.ordering.caps import capped
from nextreel.ordering.chain import Arranged, arrange, orderers
from nextreel.ordering.diversity import diverse, dpp
from nextreel.ordering.explanation import explained
from nextreel.ordering.exploration import explore
from nextreel.ordering.params import CapParams, DppParams, ExploreParams, OrderParams, PromoteParams
from nextreel.ordering.promotion import Promotion, promotion
from nextreel.ordering.values import by_value, fresh, standardised

__all__ = [
    "Arranged",
    "CapParams",
    "DppParams",
    "ExploreParams",
    "OrderParams",
    "PromoteParams",
    "Promotion",
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
