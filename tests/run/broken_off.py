# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Runs that break off before the experts are removed, and runs that finish them."""

from __future__ import annotations

import pytest

from optimum_evoesap.fitness.slices import SliceScorer
from tests.pruning import make_pruner, rows


class Stop(Exception):
    pass


def break_off(folder, change=lambda model: None, **options):
    """Run up to where the experts would be removed."""
    pruner = make_pruner(**options)
    change(pruner.model)
    pruner.apply = lambda: (_ for _ in ()).throw(Stop)
    with pytest.raises(Stop):
        pruner.prune(folder, rows(), rows(seed=1))
    return pruner


def count_scored(monkeypatch):
    """A list that gets the number of candidates each time that some are really scored."""
    counts, score_each = [], SliceScorer.score_each

    def counted(self, candidates, scored, first=0, stop=None, skip=()):
        counts.append(len(candidates) - len(skip))
        score_each(self, candidates, scored, first, stop, skip)

    monkeypatch.setattr(SliceScorer, "score_each", counted)
    return counts


def finish(folder, change=lambda model: None, **options):
    pruner = make_pruner(**options)
    change(pruner.model)
    pruner.prune(folder, rows(), rows(seed=1))
    assert not (folder / ".evoesap").exists()
    return pruner.result


def double(name):
    def change(model):
        model.get_parameter(name).data[-1].mul_(2)

    return change
