"""Calibrated probabilities from a network's logits: softmax and temperature."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np


def softmax(logits: np.ndarray) -> np.ndarray:
    """Give the probability of every class, (N, classes), from logits (N, classes)."""
    odds = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(odds / odds.sum(1, keepdims=True))


def fit_temperature(
    logits: np.ndarray,
    labels: np.ndarray,
    candidates: Iterable[float],
    penalty: Callable[[float], float] = lambda _: 0.0,
) -> float:
    """Find the divisor of logits that makes their probabilities most likely (Guo et al. 2017).

    Args:
        logits: (N, classes).
        labels: (N,) index of the right class.
        candidates: the divisors to choose from.
        penalty: what a divisor costs, in nats, whatever the labels say.
    """
    rows = np.arange(len(labels))

    def loss(temperature: float) -> float:
        scaled = logits / temperature
        top = scaled.max(1)
        total = top + np.log(np.exp(scaled - top[:, None]).sum(1))
        return float((total - scaled[rows, labels]).sum()) + penalty(temperature)

    return float(min(candidates, key=loss))
