# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A search that goes on where it was killed."""

from __future__ import annotations

import random

import pytest

from optimum_evoesap.options import EvoESAPOptions
from optimum_evoesap.run.state import RunState
from optimum_evoesap.search.allocation import AllocationSpace
from optimum_evoesap.search.told_scores import ToldScores
from tests.search.searches import evolve


def test_a_resumed_run_is_an_unbroken_run(tmp_path):
    space = AllocationSpace.from_sparsity(0.5, [16] * 6, [2] * 6)

    def score(allocation):
        return random.Random(str(allocation)).random()

    options = EvoESAPOptions(population_size=8, num_elites=2, generations=12, seed=7)
    unbroken, scores = evolve(score, space, options)

    class Killed(Exception):
        pass

    def score_until_killed(allocation):
        if len(saved) == 30:
            raise Killed
        saved.add(allocation)
        return score(allocation)

    saved: set = set()
    with RunState(tmp_path) as state, pytest.raises(Killed):
        evolve(score_until_killed, space, options, ToldScores(state, "key"))
    with RunState(tmp_path) as state:
        resumed, fresh = evolve(score, space, options, ToldScores(state, "key"))
    assert resumed.best == unbroken.best and resumed.history == unbroken.history
    # What was scored of the generation in which it was killed is lost, all else is not scored again.
    assert len(scores) - 30 <= len(fresh) < len(scores) - 20 and set(scores) == saved | set(fresh)


def test_scores_are_kept_within_a_long_round_too(tmp_path, keeps_all):
    """A generation of a large model takes minutes."""
    space = AllocationSpace.from_sparsity(0.5, [16] * 6, [2] * 6)
    options = EvoESAPOptions(population_size=8, num_elites=2, generations=2)
    tried = []

    def killed(allocation):
        if len(tried) == 5:
            raise KeyboardInterrupt
        tried.append(allocation)
        return 0.0

    with RunState(tmp_path) as state, pytest.raises(KeyboardInterrupt):
        evolve(killed, space, options, ToldScores(state, "key"))
    with RunState(tmp_path) as state:
        _, fresh = evolve(lambda allocation: 0.0, space, options, ToldScores(state, "key"))
    assert len(tried) == 5 and not set(tried) & set(fresh)
