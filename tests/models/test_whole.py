# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""One user of a model at a time, who leaves it as it was."""

from __future__ import annotations

import threading
from functools import partial

import pytest
import torch

from optimum_evoesap import EvoESAPConfig, MoEPruner
from optimum_evoesap.models.half_pruned import whole_or_unusable
from optimum_evoesap.models.whole import ModelInUseError, run_alone, run_whole
from tests.model_matrix import make_model
from tests.pruning import SMALL, logits, make_pruner, rows


@pytest.fixture
def model():
    return make_model("olmoe")


def in_another_thread(work):
    """What some work raises there; `None` where it raises nothing."""
    raised = []

    def run():
        try:
            work()
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return raised[0] if raised else None


def test_a_forward_of_another_thread_is_refused_until_the_stage_ends(model):
    def refused():
        for part in (model, model.base_model):
            error = in_another_thread(partial(part, input_ids=torch.tensor([[1, 2]])))
            assert isinstance(error, ModelInUseError) and "another thread" in str(error)
        return logits(model)

    run_whole(model, object(), refused)
    assert in_another_thread(lambda: logits(model)) is None


def test_a_second_pruner_is_refused_while_the_first_has_the_model(model):
    first, second = (MoEPruner(model, EvoESAPConfig(**SMALL)) for _ in range(2))

    def both():
        with pytest.raises(ModelInUseError, match="another pruner"):
            second.calibrate(rows())
        assert isinstance(in_another_thread(lambda: second.calibrate(rows())), ModelInUseError)
        assert isinstance(in_another_thread(lambda: first.calibrate(rows())), ModelInUseError)
        first.calibrate(rows())  # its own stages go on

    run_whole(model, first, both)
    second.calibrate(rows())


def test_a_pruner_refuses_a_model_that_another_one_has_pruned_since(model):
    first, second = (MoEPruner(model, EvoESAPConfig(**SMALL)) for _ in range(2))
    first.calibrate(rows())
    first.rank()
    first.search(rows(seed=1))
    first.apply()
    with pytest.raises(ValueError, match="something else has pruned it"):
        second.calibrate(rows())


@pytest.mark.parametrize("options", [{"sparsity": 0.5}, {"sparsity": 0.99}])
def test_the_constructor_leaves_the_mode_also_when_it_refuses(options, model):
    model.train()
    model.lm_head.eval()
    try:
        MoEPruner(model, EvoESAPConfig(**options))
    except ValueError:
        assert options["sparsity"] == 0.99
    assert model.training and not model.lm_head.training


def test_a_model_in_training_mode_is_pruned_as_in_evaluation_mode():
    kept = []
    for is_training in (False, True):
        pruner = make_pruner()
        pruner.model.train(is_training)
        pruner.prune(calibration_data=rows(), search_data=rows(seed=1))
        assert all(module.training is is_training for module in pruner.model.modules())
        kept.append((pruner.kept_experts, pruner.scores))
    assert kept[0] == kept[1]


@pytest.mark.parametrize("times", [1, 2, 5])
def test_an_interrupt_inside_the_way_back_does_not_end_it(times, model, monkeypatch):
    restored = model.requires_grad_(True).lm_head.weight
    whole, left = type(restored).requires_grad_, times

    def interrupted(parameter, is_wanted=True):
        nonlocal left
        if left and is_wanted:
            left -= 1
            raise KeyboardInterrupt
        return whole(parameter, is_wanted)

    def work():
        restored.requires_grad_(False)
        monkeypatch.setattr(torch.nn.Parameter, "requires_grad_", interrupted, raising=False)
        raise ZeroDivisionError

    with pytest.raises(KeyboardInterrupt):
        run_whole(model, object(), work)
    assert not left and restored.requires_grad and not model._forward_pre_hooks
    run_alone(model, object(), lambda: None)  # nobody holds it any more


def test_what_is_cut_short_is_unusable_and_what_ends_is_not(model):
    before = dict(vars(model))
    assert whole_or_unusable(model, lambda: 3) == 3 and vars(model) == before
    with pytest.raises(KeyboardInterrupt):
        whole_or_unusable(model, lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    for use in (lambda: logits(model), lambda: MoEPruner(model), lambda: model.save_pretrained("nowhere")):
        with pytest.raises(ValueError, match="OlmoeForCausalLM was cut short, so it is neither whole nor pruned"):
            use()
