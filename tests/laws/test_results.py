# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A result that is applied to its base makes the checkpoint of its run, bit for bit, over every architecture."""

from __future__ import annotations

import pytest
import torch

from optimum_evoesap import EvoESAPConfig, MoEPruner, PruningResult
from tests.model_matrix import MODEL_TYPES, layers_of, make_model, random_kept


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_a_result_makes_the_same_checkpoint_again(model_type, tmp_path, caplog):
    first = MoEPruner(make_model(model_type), _any_config(model_type))
    kept = random_kept(layers_of(first.model), 6)
    first.apply(kept)
    first.save_pretrained(tmp_path / "first")
    result = PruningResult.load(tmp_path / "first")
    assert {layer: result.kept_experts[layer] for layer in kept} == kept and result.criterion is None

    again = MoEPruner(make_model(model_type), _any_config(model_type))
    again.apply(tmp_path / "first")
    again.save_pretrained(tmp_path / "again")
    assert "are not those of" not in caplog.text
    mine, theirs = again.model.state_dict(), first.model.state_dict()
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) and mine[name].dtype == theirs[name].dtype for name in mine)
    for file in ("config.json", "model.safetensors"):
        assert (tmp_path / "again" / file).read_bytes() == (tmp_path / "first" / file).read_bytes()
    assert again.result.applied_from["result"] == str(tmp_path / "first")


def _any_config(model_type):
    """A sparsity that every row of the matrix allows; it is not used."""
    return EvoESAPConfig(sparsity=0.5, allocation="uniform")
