# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Windows in one forward pass: what is chosen, and fewer of them where the memory of the device is short."""

from __future__ import annotations

import weakref
from dataclasses import fields

import pytest
import torch

from optimum_evoesap.adapters import ListedExperts, SortedExperts
from optimum_evoesap.calibration.observer import observe_experts
from optimum_evoesap.fitness.scorer import FitnessScorer
from optimum_evoesap.models.batching import Windows, batch_size_for
from optimum_evoesap.models.virtual_slice import VirtualSlice
from tests.model_matrix import layers_of, make_model, random_kept, random_tokens, sparse_model_of
from tests.short_memory import batches_of, limit_memory


ERROR = torch.OutOfMemoryError("CUDA out of memory")


def halved(batches):
    """The batches after the memory has run out once."""
    windows, failures = Windows(batches), [ERROR]

    def attempt():
        if failures:
            raise failures.pop()

    windows.fit(attempt)
    return windows.batches


def test_what_suits_the_device():
    assert batch_size_for(None, 512, torch.device("cpu")) == 4
    assert batch_size_for(None, 512, torch.device("cuda")) == 32
    assert batch_size_for(None, 65536, torch.device("cuda")) == 1
    assert batch_size_for(7, 4096, torch.device("cuda")) == 7


def test_halves_keep_windows_and_their_order(caplog):
    batches = batches_of(7, 5)
    smaller = halved(batches)
    assert [len(batch["input_ids"]) for batch in smaller] == [3, 2, 2]
    for name in ("input_ids", "labels"):
        assert torch.equal(torch.cat([b[name] for b in smaller]), torch.cat([b[name] for b in batches]))
    assert "going on with 3 (a new run with batch_size=3 begins so)" in caplog.text


def test_a_tensor_for_all_windows_alike_goes_to_each_half():
    batches = [{"input_ids": random_tokens(4, 8), "position_ids": torch.arange(8)[None]}]
    halves = halved(batches)
    assert [tuple(half["input_ids"].shape) for half in halves] == [(2, 8), (2, 8)]
    assert all(torch.equal(half["position_ids"], torch.arange(8)[None]) for half in halves)


def test_a_window_that_does_not_fit_is_the_end():
    with pytest.raises(torch.OutOfMemoryError):
        halved(batches_of(3, 1))


def test_statistics_do_not_change_when_memory_is_short():
    model = make_model("olmoe")
    expected = observe_experts(sparse_model_of(model), batches_of(7, 1), progress=False)
    calls = limit_memory(model, 2)
    found = observe_experts(sparse_model_of(model), batches_of(7, 7), progress=False)
    assert max(calls[-3:]) <= 2 and sum(count for count in calls if count <= 2) == 7
    assert found.num_tokens == expected.num_tokens
    for index, sums in expected.layers.items():
        assert torch.equal(found.layers[index].routed_tokens, sums.routed_tokens)
        torch.testing.assert_close(found.layers[index].weighted_norm_sum, sums.weighted_norm_sum, rtol=1e-5, atol=1e-5)


def test_a_batch_that_fails_halfway_is_not_counted_twice():
    """The memory runs out in the second sparse layer, when the first has been observed."""
    model = make_model("olmoe")
    layers = layers_of(model)
    expected = observe_experts(sparse_model_of(model), batches_of(4, 1), progress=False)

    def check(module, args, output):
        if output[0].shape[0] * output[0].shape[1] > 32:
            raise torch.OutOfMemoryError("CUDA out of memory")

    layers[-1].modules[0].register_forward_hook(lambda m, a, out: check(m, a, (out,)))
    found = observe_experts(sparse_model_of(model), batches_of(4, 4), progress=False)
    for index, sums in expected.layers.items():
        assert torch.equal(found.layers[index].routed_tokens, sums.routed_tokens)


def fail_once_within(block, model) -> list[weakref.ref]:
    """Run out of memory once, when some of the block's experts have run; returns what its router gave until then."""
    seen: list[weakref.ref] = []
    handles = []

    def fail(module, args, output):
        for handle in handles:
            handle.remove()
        raise torch.OutOfMemoryError("CUDA out of memory")

    def note(module, args, output):
        seen.extend(weakref.ref(each) for each in (output if isinstance(output, tuple) else (output,)))

    def check(module, args):
        assert not any(each() is not None for each in seen), "what was seen of the failed call is still in memory"

    (experts, *_) = block.experts
    inner = experts.experts[3].down_proj if isinstance(block, ListedExperts) else None
    inner = inner or (experts.input_linear if isinstance(block, SortedExperts) else experts.act_fn)
    handles.append(inner.register_forward_hook(fail))
    routers = {owner for tensor in block.router_tensors for owner in tensor.owners}
    handles.extend(router.register_forward_hook(note) for router in routers)
    model.get_input_embeddings().register_forward_pre_hook(check)
    return seen


@pytest.mark.parametrize("model_type", ["olmoe", "longcat_flash", "llama4_text", "jetmoe", "listed_moe"])
def test_nothing_is_kept_of_a_call_that_fails_halfway(model_type):
    """Of each kind of adapter, in each block: the smaller batches give what they give without a failure."""
    model = make_model(model_type)
    layers = layers_of(model)
    expected = observe_experts(sparse_model_of(model), batches_of(4, 2), progress=False)
    for block in (block for layer in layers for block in layer.blocks):
        seen = fail_once_within(block, model)
        found = observe_experts(sparse_model_of(model), batches_of(4, 4), progress=False)
        assert seen, "no call failed"
        assert found.num_tokens == expected.num_tokens
        for index, sums in expected.layers.items():
            for name in (item.name for item in fields(sums)):
                assert torch.equal(getattr(found.layers[index], name), getattr(sums, name))


@pytest.mark.parametrize("fitness", ["esap", "sampled_acceptance"])
@pytest.mark.parametrize("first", [6, 1])
def test_scores_do_not_change_when_the_teacher_does_not_fit(fitness, first):
    model = make_model("olmoe")
    layers = layers_of(model)
    kept = random_kept(layers, seed=3)
    whole = FitnessScorer(model, batches_of(6, 1), fitness)
    limit_memory(model, 2)
    (batch,) = batches_of(6, 6)
    # Where the first batch is small, some of the teacher is there when the memory runs out.
    parts = [slice(0, first), slice(first, 6)] if first < 6 else [slice(0, 6)]
    found = FitnessScorer(model, [{name: each[part] for name, each in batch.items()} for part in parts], fitness)
    assert found.num_positions == whole.num_positions
    with VirtualSlice(layers, kept):
        assert found.score().mean == pytest.approx(whole.score().mean, abs=1e-5)


def test_a_run_that_goes_on_cuts_its_batches_as_before():
    """Halving twice is not cutting once: 6 windows are [2, 1, 2, 1] by halves of halves."""
    model = make_model("olmoe")
    calls = limit_memory(model, 2)
    scorer = FitnessScorer(model, batches_of(6, 6))
    assert scorer.batch_size == 2 and calls[-3:] == [2, 2, 2]
    calls.clear()
    later = FitnessScorer(model, batches_of(6, 6), batch_size=scorer.batch_size)
    assert calls[-3:] == [2, 2, 2] and max(calls) == 2 and later.score().mean == scorer.score().mean
