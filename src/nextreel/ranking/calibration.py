"""Calibration: raw scores become probabilities that keep their word."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nextreel.types import FloatArray


@dataclass(frozen=True)
class Calibration:
    """The probability 1 / (1 + exp(−(slope × score + offset))) of a raw score, which are log-odds.

    It never changes an order, as the slope is above 0. Platt, Probabilistic outputs for support vector machines (1999).

    >>> Calibration(slope=1.0, offset=0.0)(np.array([0.0], np.float32)).tolist()
    [0.5]
    """

    slope: float
    offset: float

    def __call__(self, raw: FloatArray) -> FloatArray:
        """(n,) probabilities of the raw scores (n,)."""
        odds = np.clip(raw * np.float32(self.slope) + np.float32(self.offset), -30.0, 30.0)
        return np.asarray(1.0 / (1.0 + np.exp(-odds)), np.float32)


def fit(raw: FloatArray, labels: FloatArray) -> Calibration:
    """The calibration of least log loss on rows that the scorer was not fitted on; labels (n,) are from 0 to 1.

    Labels are drawn a little to the middle, as in Platt's paper: with few positives no probability becomes 0 or 1.
    """
    from scipy.optimize import minimize  # noqa: PLC0415  training alone

    positive, n = float(labels.sum()), len(labels)
    high, low = (positive + 1.0) / (positive + 2.0), 1.0 / (n - positive + 2.0)
    target = labels * high + (1.0 - labels) * low
    scores = raw.astype(np.float64)

    def loss(theta: FloatArray) -> tuple[float, FloatArray]:
        slope = np.exp(theta[0])  # above 0
        odds = slope * scores + theta[1]
        wrong = 1.0 / (1.0 + np.exp(-np.clip(odds, -30, 30))) - target
        value = np.mean(np.logaddexp(0.0, odds) - target * odds)
        return float(value), np.array([np.mean(wrong * scores) * slope, np.mean(wrong)])

    found = minimize(loss, np.zeros(2), jac=True, method="L-BFGS-B", bounds=[(-5.0, 5.0), (-30.0, 30.0)])
    return Calibration(float(np.exp(found.x[0])), float(found.x[1]))
