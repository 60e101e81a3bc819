"""Rankers: models that score judged candidates."""
