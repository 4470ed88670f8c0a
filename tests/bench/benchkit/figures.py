# SPDX-License-Identifier: Apache-2.0
"""Figures out of samples: medians, ratios of pairs, bootstrap intervals. It must not know any row or subject."""

import random
import statistics

RESAMPLES = 2000


def median(values):
    return statistics.median(values) if values else None


def interval(values, confidence=0.95):
    """Bootstrap interval of the median; the same values give the same interval. None for fewer than 3."""
    if len(values) < 3:
        return None
    chance = random.Random(len(values))
    medians = sorted(statistics.median(chance.choices(values, k=len(values))) for _ in range(RESAMPLES))
    cut = (1 - confidence) / 2
    return medians[int(cut * RESAMPLES)], medians[int((1 - cut) * RESAMPLES) - 1]


def summary(values):
    """Median, interval, number; for absolute values as for ratios."""
    low_high = interval(values)
    return {"median": median(values), "low": low_high[0] if low_high else None,
            "high": low_high[1] if low_high else None, "n": len(values)}


def jain(values):
    """Jain's fairness index: 1 = all the same, 1/n = one has all."""
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 0.0


def engine(sample, kind):
    """The result of the first engine of a kind in a driver's sample."""
    for one in sample["engines"]:
        if one["kind"] == kind:
            return one
    raise KeyError(kind)
