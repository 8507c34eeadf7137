# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The criterion `reconstruction`: what runs, what does not change it, and what it refuses."""

from __future__ import annotations

import logging

import pytest
import torch

from optimum_evoesap.calibration.measured import Measurement
from optimum_evoesap.calibration.observer import observe_experts
from optimum_evoesap.calibration.reconstruction import reconstruction
from tests.model_matrix import make_model, random_tokens, sparse_model_of
from tests.short_memory import batches_of, limit_memory


def measurement_of(model, batches=None, **options):
    sparse_model = sparse_model_of(model)
    batches = batches or batches_of(4, 2)
    statistics = observe_experts(sparse_model, batches, progress=False)
    return Measurement(sparse_model, batches, statistics, **{"progress": False} | options)


@pytest.mark.parametrize("model_type", ["olmoe", "mixtral", "deepseek_v3", "diffusion_gemma", "jetmoe"])
def test_a_layer_gets_the_same_bits_whichever_others_are_measured(model_type):
    measurement = measurement_of(make_model(model_type), seed=5)
    indices = measurement.sparse_model.indices
    torch.manual_seed(1)
    together = dict(reconstruction(measurement, indices))
    torch.manual_seed(2)
    before = torch.get_rng_state()
    ((last, alone),) = reconstruction(measurement, indices[-1:])
    assert torch.equal(torch.get_rng_state(), before), "the user's own random numbers go on"
    assert list(together) == indices and torch.equal(together[last], alone)


def test_nothing_runs_for_no_layer():
    model = make_model("olmoe")
    measurement = measurement_of(model)
    calls = limit_memory(model, 100)
    assert list(reconstruction(measurement, [])) == [] and not calls


def test_the_model_is_as_before():
    model = make_model("listed_moe")
    tokens = random_tokens(2, 12)
    with torch.no_grad():
        before = model(tokens).logits
        list(reconstruction(measurement_of(model), [1]))
        assert torch.equal(model(tokens).logits, before)


def rows_of_experts(model, measurement):
    """Tokens that the router of the first sparse layer gets in all."""
    rows = []
    router = measurement.sparse_model.layers[0].blocks[0].router_tensors[0].owners[0]
    router.register_forward_pre_hook(lambda module, args: rows.append(args[0].flatten(0, -2).shape[0]))
    list(reconstruction(measurement, measurement.sparse_model.indices[:1]))
    return sum(rows)


def test_only_the_tokens_of_an_expert_run_without_it():
    """After some tokens have shown that no others change: here all those of the first batch."""
    model = make_model("mixtral")
    measurement = measurement_of(model, batches_of(6, 1, length=64))
    routed = int(measurement.statistics.layers[measurement.sparse_model.indices[0]].routed_tokens.sum())
    # The pass and the run that shows the routes; trying each expert on one window; once again that window, twice.
    tried = (8 + 4) * 64
    assert rows_of_experts(model, measurement) <= 2 * 6 * 64 + routed + tried


def test_all_tokens_run_where_all_change():
    """OLMoE's softmax over all experts is not normalised after the choice."""
    model = make_model("olmoe")
    assert rows_of_experts(model, measurement_of(model, batches_of(6, 1, length=64))) >= 6 * 64 * 8


def test_windows_that_do_not_fit_at_once():
    model = make_model("mixtral")
    measurement = measurement_of(model, batches_of(7, 7))
    expected = dict(reconstruction(measurement, measurement.sparse_model.indices))
    limit_memory(model, 2)
    found = dict(reconstruction(measurement, measurement.sparse_model.indices))
    for index, scores in expected.items():
        torch.testing.assert_close(found[index], scores, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("model_type", ["mixtral", "olmoe"])
def test_memory_that_runs_out_while_a_layer_is_measured(model_type, caplog):
    """What the batch has added by then must not count twice, and no hook and no slice may stay."""
    model = make_model(model_type)
    measurement = measurement_of(model, batches_of(4, 4))
    last = measurement.sparse_model.layers[-1]
    expected = dict(reconstruction(measurement, measurement.sparse_model.indices))
    (experts,) = last.blocks[0].experts
    inner, calls = experts.forward, []

    def forward(hidden, *rest):
        calls.append(hidden.shape[0])
        if len(calls) == 6:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return inner(hidden, *rest)

    experts.forward = forward
    found = dict(reconstruction(measurement, measurement.sparse_model.indices))
    assert "going on with 2" in caplog.text
    for index, scores in expected.items():
        torch.testing.assert_close(found[index], scores, rtol=1e-4, atol=1e-4)
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]
    assert sum(hooks) == 0
    routers = [layer.blocks[0].router_tensors[0].num_experts for layer in measurement.sparse_model.layers]
    assert routers == [8, 8, 8]


def test_what_cannot_be_measured_is_refused():
    model = make_model("diffusion_gemma")
    tokens = random_tokens(2, 12)
    mask = torch.ones_like(tokens)
    mask[1, 6:] = 0
    measurement = measurement_of(model, [{"input_ids": tokens}])
    measurement.batches = [{"input_ids": tokens, "attention_mask": mask}]
    with pytest.raises(ValueError, match=r"padding cannot be told from tokens.*batch_size=1"):
        list(reconstruction(measurement, measurement.sparse_model.indices))

    model = make_model("olmoe")
    measurement = measurement_of(model)
    block = model.model.layers[1].mlp
    block.forward = lambda hidden, inner=block.forward: inner(hidden + torch.rand(()))
    with pytest.raises(ValueError, match="of layer 1 gives another output when it is called again"):
        list(reconstruction(measurement, measurement.sparse_model.indices))


def test_a_block_that_is_never_called_as_a_module_is_refused(monkeypatch):
    model = make_model("olmoe")
    measurement = measurement_of(model)
    block = model.model.layers[1].mlp
    layer = model.model.layers[1]
    inner = layer.forward

    def forward(*args, **kwargs):
        monkeypatch.setattr(type(block), "__call__", type(block).forward)
        try:
            return inner(*args, **kwargs)
        finally:
            monkeypatch.undo()

    layer.forward = forward
    with pytest.raises(ValueError, match="OlmoeSparseMoeBlock.* is never called as a module.*another criterion"):
        list(reconstruction(measurement, [1]))


def test_nan_is_refused():
    model = make_model("olmoe")
    measurement = measurement_of(model)
    measurement.sparse_model.layers[1].blocks[0].expert_parts[0].value.data[0] = float("nan")
    with pytest.raises(ValueError, match=r"Layer 2 gives NaN|Layer 1 gives NaN"):
        list(reconstruction(measurement, measurement.sparse_model.indices))


def test_which_layers_run_on_all_tokens_is_logged(caplog):
    caplog.set_level(logging.INFO, logger="optimum_evoesap")
    measurement = measurement_of(make_model("olmoe"))
    list(reconstruction(measurement, measurement.sparse_model.indices[:1]))
    assert "change without an expert, so it runs on all" in caplog.text
