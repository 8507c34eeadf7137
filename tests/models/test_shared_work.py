# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The tree of what candidates share: everybody is in it once, shares what is said, and costs no more than alone."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from optimum_evoesap.models import shared_work as module
from optimum_evoesap.models.shared_work import shared_work


@st.composite
def problems(draw):
    """Sparse layers among decoder layers, and candidates that often have layers in common."""
    layers = sorted(draw(st.sets(st.integers(0, 11), min_size=1, max_size=6)))
    kept = st.sampled_from([None, (0, 1), (0, 2), (1,)])
    one = st.lists(kept, min_size=len(layers), max_size=len(layers))
    rows = draw(st.lists(one, min_size=1, max_size=24))
    candidates = [{layer: each for layer, each in zip(layers, row) if each is not None} for row in rows]
    return candidates, layers


def forks_of(tree):
    """Every fork with the one before it."""
    waiting = [(tree, None)]
    while waiting:
        fork, parent = waiting.pop()
        yield fork, parent
        waiting += [(branch, fork) for branch in fork.branches]


def same(candidates, members, layers):
    return all(len({repr(candidates[one].get(layer)) for one in members}) == 1 for layer in layers)


@settings(max_examples=300, deadline=None)
@given(problems())
def test_everybody_is_in_one_leaf_and_shares_what_is_said(problem):
    candidates, layers = problem
    tree = shared_work(candidates, layers)
    members = Counter(one for fork, _ in forks_of(tree) for leaf in fork.leaves for one in leaf)
    assert members == Counter(range(len(candidates)))
    for fork, parent in forks_of(tree):
        assert fork.layer in layers
        assert same(candidates, fork.members, [layer for layer in layers if layer < fork.layer])
        below = [one for leaf in fork.leaves for one in leaf] + [one for each in fork.branches for one in each.members]
        assert sorted(below) == sorted(fork.members)
        for leaf in fork.leaves:
            assert same(candidates, leaf, [layer for layer in layers if layer > fork.layer])
        if parent is not None:
            assert len(fork.members) > 1 and fork.layer >= parent.layer
            assert same(candidates, fork.members, [parent.layer]), "a branch shares the layer at which it begins"
        sizes = [len(branch.members) for branch in fork.branches]
        assert sizes == sorted(sizes)


@settings(max_examples=300, deadline=None)
@given(problems())
def test_the_tree_costs_at_most_what_whole_passes_cost(problem):
    candidates, layers = problem
    depth, cost = 12, 0
    for fork, parent in forks_of(shared_work(candidates, layers)):
        begun = parent.layer if parent is not None else 0
        start = fork.layer if len(fork.members) > 1 else begun
        cost += start - begun
        for leaf in fork.leaves:
            # A leaf of several: the layer in which they differ and all after it run for each.
            cost += len(leaf) * (depth - start)
    assert cost <= depth * len(candidates)


@settings(max_examples=300, deadline=None)
@given(problems(), st.integers(0, 3))
def test_never_more_than_so_many_outputs_wait(problem, most):
    candidates, layers = problem
    before, module.MOST_WAITING = module.MOST_WAITING, most
    try:
        tree = shared_work(candidates, layers)
    finally:
        module.MOST_WAITING = before
    # As `SharedForward.run` goes through the tree; of each fork with more than one candidate the outputs are held.
    waiting = [(tree, None)]
    while waiting:
        fork, _ = waiting.pop()
        assert len({id(start) for _, start in waiting}) <= most
        waiting += [(branch, fork) for branch in reversed(fork.branches)]


def test_the_same_candidate_twice_among_others():
    candidates = [{0: (1,), 3: (0,)}, {0: (1,), 3: (1,)}, {0: (1,), 3: (1,)}]
    tree = shared_work(candidates, [0, 3])
    assert tree.layer == 3 and tree.leaves == [(0,)] and [branch.leaves for branch in tree.branches] == [[(1, 2)]]


def test_curves_are_leaves_of_one_trunk():
    """Candidates that change one layer each: those of a layer form a group, and start where the layer stands."""
    layers = [1, 2, 3]
    candidates = [{layer: tuple(range(count))} for layer in layers for count in (2, 3, 4)]
    found = {fork.layer: fork.leaves for fork, _ in forks_of(shared_work(candidates, layers))}
    assert found == {1: [(0, 1, 2)], 2: [(3, 4, 5)], 3: [(6, 7, 8)]}
