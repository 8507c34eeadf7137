# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What a process does that cannot import optimum_evoesap, with plain checkpoints and with those that bring code."""

from __future__ import annotations

import copy
import json
import pickle
import sys
import traceback
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, pipeline
from transformers.integrations.heterogeneity import AmbiguousGlobalPerLayerAttributeError

from tests.memory import aligned


@torch.no_grad()
def logits(model: Any, expected: dict[str, Any]) -> torch.Tensor:
    torch.manual_seed(0)  # for DiffusionGemma, which starts from random tokens
    return model(input_ids=expected["tokens"]).logits


def load(folder: str | Path, expected: dict[str, Any], trust: bool = True) -> Any:
    return aligned(getattr(transformers, expected["loader"]).from_pretrained(folder, trust_remote_code=trust))


def load_all(trust: str, *folders: str) -> None:
    """Load each checkpoint and compare its logits; print the errors as JSON, by architecture."""
    errors = {}
    for folder in map(Path, folders):
        try:
            expected = torch.load(folder / "expected.pt", weights_only=True)
            model = load(folder, expected, trust == "trust")
            assert type(model).__module__.startswith("transformers."), type(model)
            assert torch.equal(logits(model, expected), expected["logits"])
            errors[folder.name] = ""
        except Exception:
            errors[folder.name] = traceback.format_exc()
    assert sys.modules["optimum_evoesap"] is None
    print("RESULT " + json.dumps(errors))


def use(folder: str, other: str, target: str) -> None:
    """Everything else that one does with such a model."""
    expected = torch.load(f"{folder}/expected.pt", weights_only=True)
    # Without trust nothing of it runs, and transformers alone does not build such a model.
    try:
        AutoModelForCausalLM.from_pretrained(folder)
    except AmbiguousGlobalPerLayerAttributeError:
        assert not any("modeling_evoesap" in name for name in sys.modules)
    else:
        raise AssertionError("it must not load without trust")
    model = load(folder, expected)
    # The config can be copied, pickled, printed and compared.
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(logits(twin, expected), expected["logits"])
    assert repr(AutoConfig.from_pretrained(folder, trust_remote_code=True)) == repr(model.config)
    # Later changes reach the layers.
    model.set_attn_implementation("eager")
    with torch.no_grad():
        assert all(each is not None for each in model(expected["tokens"], output_attentions=True).attentions)
    model.set_experts_implementation("batched_mm")
    assert all(layer.mlp.experts.config._experts_implementation == "batched_mm" for layer in model.model.layers)
    # A saved copy brings the code along.
    model.save_pretrained(target)
    assert Path(target, "modeling_evoesap.py").read_text() == Path(folder, "modeling_evoesap.py").read_text()
    assert torch.equal(logits(load(target, expected), expected), expected["logits"])
    assert AutoModel.from_pretrained(target, trust_remote_code=True).config.is_heterogeneous
    generate = pipeline("text-generation", model=target, tokenizer=folder, trust_remote_code=True)
    assert generate("Compute 698 - 744.", max_new_tokens=4)[0]["generated_text"]
    # An ordinary model of the same type is none of its business.
    ordinary = AutoModelForCausalLM.from_pretrained(other)
    assert type(ordinary.config) is transformers.OlmoeConfig
    assert all(layer.mlp.experts.config is ordinary.config for layer in ordinary.model.layers)
