# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`SparseModel`]: found once, handed down, and what it slices virtually it slices really."""

from __future__ import annotations

import pytest
import torch
from transformers import OlmoeForCausalLM

from optimum_evoesap import EvoESAPConfig, MoEPruner
from optimum_evoesap.models.sparse_model import SparseModel
from tests.model_matrix import make_model, random_kept, random_tokens


TOKENS = random_tokens(2, 16)


def test_a_model_is_built_as_often_as_it_must(tmp_path, monkeypatch):
    make_model("olmoe").save_pretrained(tmp_path / "model")
    built = []
    build = OlmoeForCausalLM.__init__
    monkeypatch.setattr(OlmoeForCausalLM, "__init__", lambda self, *given: built.append(given) or build(self, *given))
    options = {"sequence_length": 16, "calibration_samples": 4, "search_samples": 4, "generations": 1}
    pruner = MoEPruner.from_pretrained(tmp_path / "model", EvoESAPConfig(sparsity=0.5, **options))
    rows = [{"input_ids": tokens} for tokens in random_tokens(8, 16)]
    pruner.prune(tmp_path / "out", rows, rows)
    # Without weights: as it is, with three expert counts to discover by, with different ones, and to compare with
    # what was written; and once with weights.
    assert len(built) == 7


def test_what_is_bound_to_another_model_slices_that_one():
    bare = SparseModel(make_model("olmoe").to("meta"))
    with pytest.raises(ValueError, match=r"layers \[0, 1, 2\] are not in memory"):
        bare.check_in_memory()
    model = make_model("olmoe")
    sparse_model = bare.bind(model)
    sparse_model.check_in_memory()
    assert sparse_model.structure is bare.structure and sparse_model.num_experts == [8, 8, 8]
    kept = random_kept(sparse_model.layers, 1)
    with torch.no_grad():
        with sparse_model.sliced(kept):
            virtual = model(TOKENS).logits
        assert torch.equal(sparse_model.remove(kept)(TOKENS).logits, virtual)
    assert sparse_model.num_experts == [len(kept[index]) for index in sparse_model.indices]
