# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Bad input: a clear error before any long work, and nothing written."""

from __future__ import annotations

import numpy
import pytest
import torch
from transformers import AutoConfig, LlamaConfig, LlamaForCausalLM

from optimum_evoesap import EvoESAPConfig, MoEPruner
from tests.model_matrix import make_model
from tests.pruning import make_pruner, rows


def refuses(pruner, message, tmp_path, calibration=None, search=None, error=ValueError):
    pruner.calibrate = lambda *_: pytest.fail("the long work must not start")
    with pytest.raises(error, match=message):
        pruner.prune(
            tmp_path / "out", rows() if calibration is None else calibration, rows() if search is None else search
        )
    assert not (tmp_path / "out").exists()


def test_a_dense_model_is_refused_before_its_weights_are_read(tmp_path):
    config = LlamaConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=32
    )
    with pytest.raises(ValueError, match="no routed experts"):
        MoEPruner(LlamaForCausalLM(config))
    config.save_pretrained(tmp_path)  # no weights at all
    with pytest.raises(ValueError, match="no routed experts"):
        MoEPruner.from_pretrained(tmp_path)


def test_an_unreachable_sparsity_is_refused_before_weights_are_read(tmp_path):
    make_model("olmoe").config.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"(?s)largest possible\s+sparsity is 0.75"):
        MoEPruner.from_pretrained(tmp_path, EvoESAPConfig(sparsity=0.9))


def test_a_type_without_a_causal_language_model_is_refused(tmp_path):
    AutoConfig.for_model("vit").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="no causal language model for the model type 'vit'"):
        MoEPruner.from_pretrained(tmp_path)


def test_something_that_is_no_transformers_model_is_refused():
    with pytest.raises(ValueError, match="PreTrainedModel"):
        MoEPruner(torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match="loaded already"):
        MoEPruner.from_pretrained(make_model("olmoe"), dtype="auto")


@pytest.mark.parametrize(
    "allocation,message",
    [([1, 1], "2 counts"), ([7, 1, 1], "between 0 and 6"), ({9: 1}, r"layers \[9\]")],
)
def test_wrong_explicit_allocations_are_refused(allocation, message):
    with pytest.raises(ValueError, match=message):
        make_pruner(allocation=allocation)


def test_group_limited_routers_keep_groups_equal():
    with pytest.raises(ValueError, match="multiple of 3"):
        make_pruner("deepseek_v3", allocation=[4, 2])


def test_data_that_cannot_be_used(tmp_path):
    refuses(make_pruner(), "calibration data", tmp_path, calibration=[])
    refuses(make_pruner(), "search data", tmp_path, search=[])
    unscored = [{"input_ids": row["input_ids"], "labels": torch.full((16,), -100)} for row in rows()]
    refuses(make_pruner(), "(?i)scored", tmp_path, search=unscored)
    foreign = [{"input_ids": torch.full((16,), 96)}]
    refuses(make_pruner(), "96", tmp_path, search=foreign)
    refuses(make_pruner(), "tokenizer", tmp_path, calibration=["some text"])


def test_a_model_with_nan_logits_is_refused(tmp_path):
    pruner = make_pruner()
    pruner.model.lm_head.weight.data[:] = float("nan")
    refuses(pruner, "NaN or infinite logits", tmp_path)


def test_holdout_windows_without_a_scored_token(tmp_path):
    unscored = [
        {"input_ids": row["input_ids"], "labels": row["input_ids"] if i < 4 else torch.full((16,), -100)}
        for i, row in enumerate(rows(5))
    ]
    refuses(make_pruner(), "held-out windows hold no scored token", tmp_path, search=unscored)


def test_unknown_arguments_and_those_without_effect_are_errors_before_any_work(tmp_path):
    pruner = make_pruner()
    pruner.calibrate = lambda *_: pytest.fail("the long work must not start")
    for prune in (pruner.prune, lambda **given: pruner.quantize(tmp_path / "out", **given)):
        with pytest.raises(TypeError, match="save_dirs"):
            prune(save_dirs=tmp_path / "out", calibration_data=rows(), search_data=rows())
        for given in ({"private": True}, {"hub_model_id": "me/model"}, {"commit_message": "x"}, {"create_pr": True}):
            with pytest.raises(ValueError, match=f"{next(iter(given))} would have no effect"):
                prune(calibration_data=rows(), search_data=rows(), **given)
    with pytest.raises(TypeError, match="save_dir"):
        pruner.prune(save_dir=tmp_path / "out", calibration_data=rows(), search_data=rows())
    assert not list(tmp_path.iterdir())


def test_offloaded_and_foreign_tensors_are_refused():
    pruner = make_pruner()
    pruner.layers[1].blocks[0].expert_parts[0].replace(torch.empty(8, 48, 32, device="meta"))
    with pytest.raises(ValueError, match=r"layers \[1\] are not in memory"):
        pruner.calibrate(rows())
    model = make_model("olmoe")
    model.model.layers[0].mlp.experts.register_buffer("gate_up_proj_scale_inv", torch.ones(8, 1, 1))
    with pytest.raises(ValueError, match="gate_up_proj_scale_inv"):
        MoEPruner(model)
    model = make_model("olmoe")
    model.hf_quantizer = object()
    with pytest.raises(ValueError, match="quantized weights"):
        MoEPruner(model)


def test_push_without_a_name_is_refused():
    with pytest.raises(ValueError, match="hub_model_id"):
        make_pruner().prune(push_to_hub=True)


def test_counts_of_numpy_are_counts_and_a_pruned_model_is_not_ranked():
    pruner = make_pruner()
    pruner.calibrate(rows())
    pruner.rank()
    pruner.apply(numpy.array([1, 2, 3]))
    assert pruner.allocation == [1, 2, 3] and all(type(count) is int for count in pruner.result.allocation)
    with pytest.raises(ValueError, match="pruned already"):
        pruner.rank()
    assert pruner.allocation == [1, 2, 3]
