# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What vLLM cannot do with layers of different expert counts fails before weights load, and says why."""

from __future__ import annotations

import pytest

from .conftest import load, needs_vllm


pytestmark = needs_vllm
LOADING = "Loading safetensors checkpoint shards"


def test_without_the_plugin_vllm_cannot_load_it(vllm, checkpoints):
    """The control: were it not for the plugin, the other tests would fail."""
    names = ("olmoe", "deepseek_v3")
    for answer in vllm([load(checkpoints[name]) for name in names], VLLM_PLUGINS=""):
        assert "error" in answer and LOADING not in answer["log"]


def test_expert_parallelism_is_refused(vllm, checkpoints):
    job = load(checkpoints["olmoe"], enable_expert_parallel=True, tensor_parallel_size=2)
    (answer,) = vllm([job], workers=True)
    assert "expert parallelism (--enable-expert-parallel) cannot be used" in answer["error"]
    assert "its layers have different numbers of experts (from 2 on)" in answer["error"]
    assert LOADING not in answer["log"]


HOOKS = {
    "vllm.model_executor.models.olmoe:make_layers": {},
    "vllm.model_executor.models.transformers.moe:FusedMoEFactory": {"model_impl": "transformers"},
}


@pytest.fixture(scope="module")
def otherwise_built(vllm, checkpoints):
    """The answers of a vLLM that builds layers in another way than the plugin knows, as a later one may do."""
    served = checkpoints["olmoe"]
    return dict(
        zip(HOOKS, vllm([load(served, **options) | {"without_hooks": [hook]} for hook, options in HOOKS.items()]))
    )


@pytest.mark.parametrize("hook", HOOKS)
def test_a_model_that_vllm_builds_otherwise_is_refused(otherwise_built, hook):
    answer = otherwise_built[hook]
    assert "has 8 experts in " in answer["error"] and "but layer 0 has 3 in config.json" in answer["error"]
    assert "It knows vLLM" in answer["error"] and LOADING not in answer["log"]


def test_experts_that_are_not_those_of_vllm_are_refused(vllm, checkpoints):
    """Its Transformers backend leaves the experts of GPT-OSS as they are, out of reach of the check."""
    (answer,) = vllm([load(checkpoints["gpt_oss"], model_impl="transformers")])
    assert "has none of vLLM's experts in the layers [0, 1, 2, 3]" in answer["error"]
    assert LOADING not in answer["log"]
