# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The config of a checkpoint counts only the layers for multi-token prediction that are in its files."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from optimum_evoesap import PruningResult
from optimum_evoesap.checkpoint.claims import drop_claims
from tests.model_matrix import make_model
from tests.pruning import make_pruner, rows


@pytest.mark.parametrize("name", ["num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_layers"])
@pytest.mark.parametrize("place", [None, "text_config"])
@pytest.mark.parametrize("tensor", [None, "model.layers.2.enorm.weight", "mtp.0.norm.weight"])
def test_a_count_stays_where_the_files_hold_it(name, place, tensor, tmp_path, caplog):
    values = {"num_hidden_layers": 2, name: 1, "mtp_loss_scaling_factor": 0.5}
    (tmp_path / "config.json").write_text(json.dumps({place: values} if place else values))
    tensors = {key: torch.ones(1) for key in ("model.layers.1.norm.weight", tensor) if key}
    save_file(tensors, tmp_path / "model.safetensors")
    assert drop_claims(tmp_path) == ([] if tensor else [name])
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config[place] if place else config) == values | {name: 1 if tensor else 0}
    assert (f"{name}=1" in caplog.text) == (tensor is None)


def test_a_config_without_such_counts_stays_as_it_is(tmp_path):
    make_model("olmoe").save_pretrained(tmp_path)
    before = (tmp_path / "config.json").read_bytes()
    assert drop_claims(tmp_path) == [] and (tmp_path / "config.json").read_bytes() == before


def test_the_card_and_the_result_say_what_was_dropped(tmp_path):
    pruner = make_pruner("glm4_moe", allocation="uniform")
    pruner.model.config.num_nextn_predict_layers = 1
    pruner.prune(tmp_path / "out", rows())
    assert PruningResult.load(tmp_path / "out").dropped_layers == ["num_nextn_predict_layers"]
    assert "prediction were dropped; the config claims none in `num_nextn_predict_layers`" in (
        tmp_path / "out" / "README.md"
    ).read_text(encoding="utf-8")


def test_lists_of_such_layers_are_emptied(tmp_path):
    values = {"num_hidden_layers": 2, "mtp_layer_types": ["full_attention", "linear_attention"], "mtp_loss": [0.1]}
    (tmp_path / "config.json").write_text(json.dumps({"text_config": values}))
    save_file({"model.layers.1.norm.weight": torch.ones(1)}, tmp_path / "model.safetensors")
    assert drop_claims(tmp_path) == ["mtp_layer_types"]
    config = json.loads((tmp_path / "config.json").read_text())["text_config"]
    assert config == values | {"mtp_layer_types": []}
