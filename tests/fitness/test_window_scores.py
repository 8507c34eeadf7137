# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Scores by window: what is maximised, also where it is the worst domain."""

from __future__ import annotations

import pytest

from optimum_evoesap.fitness.window_scores import WindowScores


SCORES = WindowScores((1.0, 6.0, 2.0, 0.0), (10, 10, 5, 0))
DOMAINS = ("code", "math", "code", "law")


def test_the_value_is_the_mean_unless_domains_count():
    assert SCORES.value == SCORES.mean == pytest.approx(9 / 25)
    assert SCORES.by_worst(()) == SCORES


def test_with_domains_the_value_is_that_of_the_worst():
    """Windows of a domain count together, and one without scored positions does not count at all."""
    scores = SCORES.by_worst(DOMAINS)
    assert scores.value == pytest.approx(3 / 15) and scores.mean == SCORES.mean
    assert scores.counted == WindowScores((1.0, 0.0, 2.0, 0.0), (10, 0, 5, 0))
    assert scores.of_domain(DOMAINS, "math").mean == pytest.approx(0.6)


def test_domains_go_with_their_windows():
    scores = SCORES.by_worst((*DOMAINS, "of a window that was not scored yet"))
    assert scores.domains == DOMAINS
    assert scores.first(2).domains == DOMAINS[:2] and scores.first(2).value == pytest.approx(0.1)
    assert scores.first(2) + SCORES.by_worst(DOMAINS).first(1) == WindowScores(
        (1.0, 6.0, 1.0), (10, 10, 10), ("code", "math", "code")
    )


def test_json_keeps_every_bit_and_no_domains():
    scores = WindowScores((0.1 + 0.2,), (3,), ("code",))
    assert WindowScores.from_json(scores.to_json()) == WindowScores((0.1 + 0.2,), (3,))
    with pytest.raises(ValueError, match="2 sums and 1 counts"):
        WindowScores.from_json({"sums": [1, 2], "counts": [3]})
