"""nextreel: an open video recommendation system in four stages: retrieve, filter, rank, order."""

__version__ = "0.1.0"
