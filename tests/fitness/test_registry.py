# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A fitness of the user's own."""

from __future__ import annotations

import pytest

from optimum_evoesap.fitness import FITNESSES, register_fitness
from optimum_evoesap.fitness.scorer import FitnessScorer
from tests.fitness.helpers import batches_of
from tests.model_matrix import make_model, random_tokens


def test_own_fitness():
    @register_fitness("test_agreement")
    def agreement(block):
        return (block.teacher_logits.argmax(-1) == block.student_logits.argmax(-1)).float()

    try:
        assert (
            FitnessScorer(make_model("olmoe"), batches_of(random_tokens(1, 9)), "test_agreement").score().mean == 1.0
        )
        FITNESSES["test_agreement"] = lambda block: agreement(block).mean()
        with pytest.raises(ValueError, match="one value a position"):
            FitnessScorer(make_model("olmoe"), batches_of(random_tokens(1, 9)), "test_agreement").score()
    finally:
        FITNESSES.pop("test_agreement")
