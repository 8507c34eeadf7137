# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Paired comparisons: against slow recomputations, and that an interval covers what it should."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from optimum_evoesap.fitness.window_scores import WindowScores
from optimum_evoesap.search.comparison import difference, paired_interval


def scores_of(values, counts):
    """Scores with such a mean in each window."""
    return WindowScores(tuple(value * count for value, count in zip(values, counts)), tuple(counts))


def drawn(seed, num_windows, gain, noise=0.01):
    """Two candidates on windows of which some are much harder than others; the first is better by `gain`."""
    generator = random.Random(seed)
    counts = [generator.randint(5, 60) for _ in range(num_windows)]
    hardness = [generator.random() for _ in counts]
    better = [each + gain + generator.gauss(0, noise) for each in hardness]
    return scores_of(better, counts), scores_of(hardness, counts)


def slow_interval(one, other, seed, resamples=10_000):
    """One window after the other, in plain Python."""
    pairs = [(a - b, count) for a, b, count in zip(one.sums, other.sums, one.counts) if count]
    places = np.random.default_rng(seed).integers(len(pairs), size=(resamples, len(pairs))).tolist()
    means = sorted(
        math.fsum(pairs[place][0] for place in draw) / sum(pairs[place][1] for place in draw) for draw in places
    )
    return [float(np.quantile(means, share)) for share in (0.025, 0.975)]


def test_the_interval_is_that_of_a_slow_recomputation():
    one, other = drawn(3, 12, 0.02)
    assert paired_interval(one, other, 7) == pytest.approx(slow_interval(one, other, 7), abs=1e-12)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    """With 40 windows a bootstrap of 95% covers a little less than that."""
    covered = 0
    for seed in range(200):
        low, high = paired_interval(*drawn(seed, 40, 0.02), seed)
        covered += low <= 0.02 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_what_windows_have_in_common_drops_out():
    """Windows differ by 1, candidates by 0.02, and yet the interval lies above zero and is narrow."""
    low, high = paired_interval(*drawn(0, 16, 0.02), 0)
    assert 0 < low < 0.02 < high < 0.03
    assert paired_interval(*reversed(drawn(0, 16, 0.02)), 0) == pytest.approx((-high, -low), abs=1e-3)


def test_more_confidence_is_a_wider_interval():
    one, other = drawn(1, 10, 0.0, noise=0.1)
    narrow, wide = (paired_interval(one, other, 0, confidence) for confidence in (0.5, 0.99))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_one_window_says_nothing_of_how_far_others_may_differ():
    one, other = scores_of([0.5], [10]), scores_of([0.25], [10])
    assert paired_interval(one, other, 0) is None
    padded = [WindowScores((*each.sums, 0.0), (*each.counts, 0)) for each in (one, other)]
    assert paired_interval(*padded, 0) is None, "a window without scored positions is none"
    assert difference(one, other).mean == pytest.approx(0.25)
    assert math.isinf(difference(one, other).error) and not difference(one, other).is_clear


def test_windows_without_scored_positions_count_for_nothing():
    one, other = drawn(5, 8, 0.02)
    padded = [
        WindowScores((0.0, *each.sums[:4], 0.0, *each.sums[4:]), (0, *each.counts[:4], 0, *each.counts[4:]))
        for each in (one, other)
    ]
    assert paired_interval(*padded, 3) == pytest.approx(paired_interval(one, other, 3), abs=1e-15)
    plain, found = difference(one, other), difference(*padded)
    assert (found.mean, found.error) == pytest.approx((plain.mean, plain.error), abs=1e-15)


def test_the_standard_error_is_that_of_many_draws():
    found = [difference(*drawn(seed, 50, 0.02)) for seed in range(300)]
    spread = np.std([each.mean for each in found])
    assert np.mean([each.error for each in found]) == pytest.approx(spread, rel=0.15)
    assert np.mean([each.mean for each in found]) == pytest.approx(0.02, abs=5e-4)


DOMAINS = ("code", "math", "code", "law", "math", "code", "law", "math") * 3


def worst(scores, places):
    """The lowest mean of a domain over some windows, in plain Python."""
    means = []
    for domain in set(DOMAINS):
        inside = [place for place in places if DOMAINS[place] == domain]
        means.append(math.fsum(scores.sums[place] for place in inside) / sum(scores.counts[place] for place in inside))
    return min(means)


def test_where_the_worst_domain_counts_its_difference_is_what_is_compared():
    one, other = drawn(2, len(DOMAINS), 0.05, noise=0.1)
    found = difference(one.by_worst(DOMAINS), other.by_worst(DOMAINS))
    everything = range(len(DOMAINS))
    assert found.mean == pytest.approx(worst(one, everything) - worst(other, everything), abs=1e-12)
    assert found.mean != pytest.approx(difference(one, other).mean)


def test_an_error_in_one_domain_is_that_of_its_windows_alone():
    """Where both are worst in the same domain, the others do not matter."""
    one, other = drawn(2, len(DOMAINS), 0.05)
    found = difference(one.by_worst(DOMAINS), other.by_worst(DOMAINS))
    domain = min(set(DOMAINS), key=lambda each: other.of_domain(DOMAINS, each).mean)
    places = [place for place, each in enumerate(DOMAINS) if each == domain]
    alone = [
        WindowScores(tuple(each.sums[place] for place in places), tuple(each.counts[place] for place in places))
        for each in (one, other)
    ]
    expected = difference(*alone)
    assert (found.mean, found.error) == pytest.approx((expected.mean, expected.error), abs=1e-12)


def test_the_interval_of_the_worst_domain_is_that_of_draws_within_each():
    one, other = drawn(4, len(DOMAINS), 0.02, noise=0.1)
    generator = random.Random(0)
    by_domain = [[place for place, each in enumerate(DOMAINS) if each == name] for name in dict.fromkeys(DOMAINS)]
    gains = []
    for _ in range(4000):
        places = [place for windows in by_domain for place in generator.choices(windows, k=len(windows))]
        gains.append(worst(one, places) - worst(other, places))
    found = paired_interval(one.by_worst(DOMAINS), other.by_worst(DOMAINS), 5)
    # Draws differ; the ends of the interval by far less than its width.
    assert found == pytest.approx(np.quantile(gains, [0.025, 0.975]), abs=0.05 * (found[1] - found[0]))


def test_only_windows_that_both_have_scores_on_are_compared():
    """A candidate that dropped out of a race, and one that was scored on all windows."""
    few, all_ = WindowScores((1.0, 2.0), (2, 2)), WindowScores((0.5, 1.0, 9.0, 7.0), (2, 2, 2, 2))
    assert difference(few, all_) == difference(few, all_.first(2)) and difference(few, all_).mean == 0.375
    assert difference(all_, few).mean == -0.375


def test_one_window_of_a_domain_that_counts_gives_no_interval():
    one, other = scores_of([0.5, 0.4, 0.6], [10, 10, 10]), scores_of([0.25, 0.3, 0.5], [10, 10, 10])
    domains = ("code", "math", "math")
    assert paired_interval(one, other, 0) is not None
    assert paired_interval(one.by_worst(domains), other.by_worst(domains), 0) is None
