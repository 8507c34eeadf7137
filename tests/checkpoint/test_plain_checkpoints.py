# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A uniform result is an ordinary checkpoint: transformers alone loads it, with nothing trusted."""

from __future__ import annotations

from optimum_evoesap import EvoESAPConfig, MoEPruner
from tests.model_matrix import layers_of, make_model, random_tokens

from .checkpoints import read_errors, run_fresh, save_expected, save_pruned, show


# Layers without experts, routers with groups, biases, a count in a nested config, a vision tower.
MODEL_TYPES = ["olmoe", "qwen3_moe", "mixtral", "deepseek_v3", "gpt_oss", "dbrx", "qwen3_vl_moe"]


def rows():
    return [{"input_ids": tokens} for tokens in random_tokens(4, 16)]


def prune_evenly(model, folder):
    """Keep as many experts in each layer as the layer with the fewest needs; of a non-uniform model too."""
    layers = layers_of(model)
    kept = max(layer.min_kept for layer in layers)
    allocation = [layer.num_experts - kept for layer in layers]
    pruner = MoEPruner(model, EvoESAPConfig(sparsity=None, allocation=allocation, sequence_length=16))
    pruner.prune(folder, rows())
    save_expected(folder, model)


def test_transformers_alone_loads_a_uniform_result(tmp_path):
    folders = []
    for name in MODEL_TYPES:
        prune_evenly(make_model(name), tmp_path / f"{name}_whole")
        prune_evenly(save_pruned(tmp_path / name, name), tmp_path / f"{name}_pruned")
        folders += [tmp_path / f"{name}_whole", tmp_path / f"{name}_pruned"]
    for folder in folders:
        config = (folder / "config.json").read_text()
        assert "per_layer_config" not in config and "auto_map" not in config
    code = "from without_package import load_all; load_all(*sys.argv[1:])"
    errors = read_errors(run_fresh(code, "nothing", *folders, package=False))
    assert errors.keys() == {folder.name for folder in folders}
    assert not any(errors.values()), show(errors)
