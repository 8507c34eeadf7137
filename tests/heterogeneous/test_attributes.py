# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Overrides of single layers in a config."""

from __future__ import annotations

import optimum_evoesap  # noqa: F401  (lets transformers build the pruned checkpoints)
from optimum_evoesap.heterogeneous.attributes import per_layer_overrides
from optimum_evoesap.models.surgery import write_expert_counts
from tests.model_matrix import make_config


def test_overrides_that_are_there_already_stay():
    config = make_config("olmoe")
    config.per_layer_config = {0: {"clip_qkv": 5.0}}
    write_expert_counts(config, "num_experts", {0: 3, 1: 5, 2: 8})
    assert per_layer_overrides(config) == {0: {"clip_qkv": 5.0, "num_experts": 3}, 1: {"num_experts": 5}}
    write_expert_counts(config, "num_experts", {0: 4, 1: 4, 2: 4})
    assert per_layer_overrides(config) == {0: {"clip_qkv": 5.0}} and config.num_experts == 4
