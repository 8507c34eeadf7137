# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Candidates of keep logits: the lowest go, within every limit."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimum_evoesap.search.allocation import AllocationSpace
from optimum_evoesap.search.candidate import Candidate, check_candidate
from optimum_evoesap.search.keep_logits.logits import candidate_of, logits_of_candidate, logits_of_order, order_of


@st.composite
def cases(draw):
    """A space with groups and protected experts, and logits for it, some of them equal."""
    unit = draw(st.sampled_from([1, 2, 4]))
    totals = [unit * draw(st.integers(2, 5)) for _ in range(draw(st.integers(1, 4)))]
    groups = tuple(draw(st.sampled_from([each for each in (1, 2, 4) if unit % each == 0])) for _ in totals)
    protected = tuple(frozenset(draw(st.sets(st.integers(0, total - 1), max_size=1))) for total in totals)
    # What protected experts leave to each group, as the planning has it.
    least = [
        max(unit, len(each) * number, -(-len(each) * number // unit) * unit) for each, number in zip(protected, groups)
    ]
    most = sum((total - kept) // unit for total, kept in zip(totals, least))
    space = AllocationSpace.from_limits(totals, least, unit * draw(st.integers(0, most)), unit)
    logits = {
        layer: [float(draw(st.integers(-3, 3))) for _ in range(total)] for layer, total in zip(space.layers, totals)
    }
    return replace(space, num_groups=groups, protected=protected), logits


@settings(max_examples=200, deadline=None)
@given(cases())
def test_what_is_made_of_logits_is_allowed_and_their_order_leads_there_too(case):
    space, logits = case
    candidate = candidate_of(logits, space)
    check_candidate(candidate, space)
    order = order_of(logits, space)
    counts = candidate.removed(space.num_experts)
    assert Candidate.from_order(order, dict(zip(space.layers, counts))) == candidate
    for place, layer in enumerate(space.layers):
        assert sorted(order[layer]) == list(range(space.num_experts[place]))
        # Every multiple of the unit is a candidate by this order.
        removable = order[layer][: space.max_removed[place]]
        assert not space.protected[place] & set(removable)


@settings(max_examples=200, deadline=None)
@given(cases(), st.integers(0, 1000))
def test_logits_of_a_candidate_give_it_back(case, seed):
    space, logits = case
    generator = random.Random(seed)
    drawn = {layer: [generator.random() for _ in values] for layer, values in logits.items()}
    candidate, order = candidate_of(drawn, space), order_of(drawn, space)
    assert candidate_of(logits_of_candidate(candidate, order), space) == candidate


def test_the_lowest_go_over_all_layers():
    generator = random.Random(0)
    space = AllocationSpace.from_limits([4, 4, 3], [2, 1, 3], 3, layers=[1, 2, 5])
    for _ in range(20):
        logits = {1: [], 2: [], 5: []}
        for layer, total in zip(space.layers, space.num_experts):
            logits[layer] = [generator.random() for _ in range(total)]
        experts = [(layer, expert) for layer in (1, 2) for expert in range(4)]
        allowed = [
            gone
            for gone in itertools.combinations(experts, 3)
            if sum(layer == 1 for layer, _ in gone) <= 2 and sum(layer == 2 for layer, _ in gone) <= 3
        ]
        best = min(allowed, key=lambda gone: sum(logits[layer][expert] for layer, expert in gone))
        found = candidate_of(logits, space)
        gone = {(layer, e) for layer, total in zip(space.layers, space.num_experts) for e in range(total)}
        assert gone - {(layer, e) for layer, kept in found.items() for e in kept} == set(best)


def test_logits_of_an_order_rise_along_it_alike_in_all_layers():
    logits = logits_of_order({0: [2, 0, 1], 4: [0, 1, 2]})
    assert sorted(logits[0]) == sorted(logits[4]) == logits[4]
    assert logits[0][2] < logits[0][0] < logits[0][1] and sum(logits[0]) == pytest.approx(0)


def test_a_budget_that_the_limits_do_not_allow_is_refused():
    space = AllocationSpace.from_limits([4], [2], 2)
    with pytest.raises(ValueError, match="can lose 2 experts by their limits, which is less than the budget of 3"):
        candidate_of({0: [0.0] * 4}, replace(space, budget=3))
