# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A model that can lose no expert is refused with the true cause."""

from __future__ import annotations

import re

import pytest
from transformers import AutoModelForCausalLM

from optimum_evoesap import EvoESAPConfig, MoEPruner
from tests.model_matrix import make_config
from tests.pruning import make_pruner


def refusal(values, **options):
    config = make_config("qwen3_moe")
    for name, value in values.items():
        setattr(config, name, value)
    model = AutoModelForCausalLM.from_config(config)
    with pytest.raises(ValueError) as caught:
        MoEPruner(model, EvoESAPConfig(**({"sparsity": 0.5} | options)))
    return str(caught.value)


@pytest.mark.parametrize(
    ("values", "options", "cause"),
    [
        ({"num_experts": 4, "num_experts_per_tok": 6}, {}, "has 4 experts, but its router sends each token to 6"),
        ({"num_experts": 4, "num_experts_per_tok": 6}, {"min_experts": 3}, "its router sends each token to 6"),
        (
            {"num_experts": 2, "num_experts_per_tok": 1},
            {},
            "the router needs 2, since a token is routed to 1 and",
        ),
        ({"num_experts": 2, "num_experts_per_tok": 1}, {"min_experts": 1}, "the router needs 2"),
        ({"num_experts": 4, "num_experts_per_tok": 4}, {}, "the router needs 4, since a token is routed to 4"),
        ({"num_experts": 8}, {"min_experts": 8}, "min_experts=8 of 8 experts leaves none"),
        ({"num_experts": 8}, {"min_experts": 9}, "min_experts=9 is more than the 8 experts"),
    ],
)
@pytest.mark.parametrize("goal", [{}, {"sparsity": None, "target_size": 9000}])
def test_the_cause_is_named(values, options, cause, goal):
    message = refusal(values, **options, **goal)
    assert re.search(cause, message), message
    assert "largest possible" not in message and "at most 0" not in message


def test_experts_that_are_kept():
    whole = {layer: list(range(8)) for layer in range(3)}
    with pytest.raises(ValueError, match="keep names so many of 8 experts that 8 stay"):
        make_pruner(keep=whole)


def test_one_layer_that_can_lose_nothing_is_no_error():
    assert make_pruner(keep={0: list(range(8))}, sparsity=0.25).space.max_removed == (0, 6, 6)
