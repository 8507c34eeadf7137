# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""An interrupt at any moment leaves the user's model whole, or pruned, or unusable; never something in between."""

from __future__ import annotations

import copy
import os
import random
import sys

import pytest
import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from optimum_evoesap import EvoESAPConfig, MoEPruner
from tests.model_matrix import make_model
from tests.pruning import SMALL, logits, rows


# One of each kind of block: one module for all experts, the same with a selection bias, a list, dense, sorted tokens.
MODEL_TYPES = ("olmoe", "deepseek_v3", "listed_moe", "llama4_text", "jetmoe")
POINTS = int(os.environ.get("EVOESAP_TEST_INTERRUPTS", "20"))
PACKAGE = f"{os.sep}optimum_evoesap{os.sep}"
# Files in which a step and its way back stand next to each other: most interrupts fall there.
RISKY = ("adapters", "models", "kernels", "contextlib.py", "layer_config.py", "observer.py", "hooks.py")


class Interrupt:
    """Raises KeyboardInterrupt once, at a chosen bytecode of the files that change the model, by tracing Python.

    Attributes:
        seen: How many such moments have passed.
    """

    def __init__(self, at=None):
        self.at, self.seen = at, 0

    def __enter__(self):
        sys.settrace(self._enter)
        return self

    def __exit__(self, *error):
        sys.settrace(None)

    def _enter(self, frame, event, argument):
        name = frame.f_code.co_filename
        if not any(part in name for part in RISKY) or (PACKAGE not in name and not name.endswith("contextlib.py")):
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self._step

    def _step(self, frame, event, argument):
        if event == "opcode":
            if self.seen == self.at:
                self.at = None
                raise KeyboardInterrupt
            self.seen += 1
        return self._step


def state_of(model):
    """Everything of a model that must come back, by name; tensors and tables by identity."""
    state = {"config": copy.deepcopy(model.config.to_dict()), "grad": torch.is_grad_enabled()}
    state["attention"] = dict(ALL_ATTENTION_FUNCTIONS._local_mapping)
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            content = dict(value) if isinstance(value, dict) else None
            held = {each: id(part) for each, part in content.items()} if content is not None else None
            plain = value if isinstance(value, (bool, int, float, str)) else id(value)
            state[f"{name}.{key}"] = (plain, held)
    for name, parameter in model.named_parameters():
        state[f"{name} wants"] = parameter.requires_grad
    return state


def new_pruner(model):
    options = SMALL | {"calibration_samples": 2, "search_samples": 2, "generations": 1, "population_size": 2}
    options |= {"sequence_length": 8, "num_elites": 1, "holdout_fraction": 0.5}
    return MoEPruner(model, EvoESAPConfig(**options))


def calibrate(pruner):
    pruner.calibrate(rows(4))
    pruner.rank()


def search(pruner):
    pruner.search(rows(4, seed=1))


def prepared(model, stage):
    pruner = new_pruner(model)
    if stage is not calibrate:
        calibrate(pruner)
    return pruner


@pytest.fixture(scope="module", params=MODEL_TYPES)
def model(request):
    """In training mode in part, with a hook, a forward of its own and a frozen weight."""
    model = make_model(request.param)
    model.train()
    next(iter(model.children())).eval()
    inner = list(model.modules())[-1]
    inner.register_forward_hook(lambda *_: None)
    vars(inner)["forward"] = inner.forward
    next(model.parameters()).requires_grad_(False)
    return model


@pytest.mark.parametrize("stage", [calibrate, search])
def test_an_interrupted_stage_leaves_the_model_as_it_was(stage, model):
    before, random_state = state_of(model), torch.get_rng_state()
    stage(prepared(model, stage))
    assert state_of(model) == before, "a stage that ends well restores the model too"
    with Interrupt() as counted:
        stage(prepared(model, stage))
    draw = random.Random(0)
    for _ in range(POINTS):
        pruner, at = prepared(model, stage), draw.randrange(counted.seen)
        torch.set_rng_state(random_state)
        try:
            with Interrupt(at):
                stage(pruner)
        except KeyboardInterrupt:
            pass
        after = state_of(model)
        changed = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
        assert not changed, (at, changed)
        stage(pruner)  # and the same pruner can go on
    assert state_of(model) == before


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_an_interrupted_apply_leaves_a_whole_a_pruned_or_an_unusable_model(model_type):
    counts = None
    draw, outcomes = random.Random(0), set()
    for _ in range(1 + POINTS):
        model = make_model(model_type)
        whole = logits(model)
        pruner = prepared(model, search)
        search(pruner)
        if counts is None:
            pruned = copy.deepcopy(model)
        at = None if counts is None else draw.randrange(counts)
        interrupt = Interrupt(at)
        try:
            with interrupt:
                pruner.apply()
        except KeyboardInterrupt:
            pass
        if counts is None:
            counts, pruned = interrupt.seen, logits(model)
        outcomes.add(outcome_of(model, whole, pruned))
    assert outcomes <= {"whole", "pruned", "unusable"} and "pruned" in outcomes


def outcome_of(model, whole, pruned):
    try:
        found = logits(model)
    except ValueError as error:
        assert "neither whole nor pruned" in str(error)
        with pytest.raises(ValueError, match="neither whole nor pruned"):
            MoEPruner(model)
        with pytest.raises(ValueError, match="neither whole nor pruned"):
            model.save_pretrained("nowhere")
        return "unusable"
    return "whole" if torch.equal(found, whole) else "pruned" if torch.equal(found, pruned) else "in between"
