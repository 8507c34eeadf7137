# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The class that a checkpoint loads with."""

from __future__ import annotations

import pytest
import transformers
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

from optimum_evoesap.models.classes import choose_model
from optimum_evoesap.models.loading import load_bare_model
from tests.model_matrix.rows import ROWS
from tests.models.checkpoints import save_config


# A row may have a class of its own, which is in no release.
INSTALLED = [name for name, row in ROWS.items() if row.is_installed and hasattr(transformers, row.model_class)]


@pytest.mark.parametrize("model_type", INSTALLED)
def test_the_class_in_the_config_is_built(model_type, tmp_path):
    path = save_config(tmp_path, model_type, ROWS[model_type].model_class)
    model = load_bare_model(path)
    assert type(model).__name__ == ROWS[model_type].model_class
    assert all(parameter.is_meta for parameter in model.parameters())


@pytest.mark.parametrize(
    ("model_type", "architectures", "expected"),
    [
        # The Auto class for text would take the text model.
        ("llama4", ["Llama4ForConditionalGeneration"], "Llama4ForConditionalGeneration"),
        ("llama4", ["Llama4ForCausalLM"], "Llama4ForCausalLM"),
        ("llama4", ["NoSuchModel", "Llama4ForConditionalGeneration"], "Llama4ForConditionalGeneration"),
        ("llama4", [], "Llama4ForCausalLM"),
        ("llama4", ["OlmoeForCausalLM"], "Llama4ForCausalLM"),
        ("qwen3_vl_moe", [], "Qwen3VLMoeForConditionalGeneration"),
        ("olmoe", ["NoSuchModel"], "OlmoeForCausalLM"),
        ("olmoe", ["OlmoeModel"], "OlmoeForCausalLM"),
        ("olmoe", ["PretrainedConfig"], "OlmoeForCausalLM"),
    ],
)
def test_without_a_known_class_the_first_for_the_type_is_built(model_type, architectures, expected, tmp_path):
    assert type(load_bare_model(save_config(tmp_path, model_type, *architectures))).__name__ == expected


def test_a_class_that_no_auto_class_knows_is_used_by_its_name(monkeypatch):
    config = ROWS["qwen3_vl_moe"].make_config()
    config.architectures = ["Qwen3VLMoeForConditionalGeneration"]
    assert choose_model(config).loader is AutoModelForImageTextToText
    monkeypatch.setattr("optimum_evoesap.models.classes._AUTO_CLASSES", (AutoModelForCausalLM,))
    choice = choose_model(config)
    assert choice.loader is choice.model_class is transformers.Qwen3VLMoeForConditionalGeneration


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (transformers.ViTConfig(), "has no causal language model for the model type 'vit' of .*[^.]\\.$"),
        (
            transformers.SwitchTransformersConfig(architectures=["SwitchTransformersForConditionalGeneration"]),
            "no causal language model for the model type 'switch_transformers' of .*an encoder with a decoder",
        ),
        (
            transformers.ViTConfig(auto_map={"AutoModelForCausalLM": "code.Model"}),
            "'vit' of .* It brings code of its own: pass trust_remote_code=True",
        ),
    ],
)
def test_model_types_without_a_language_model(config, message, tmp_path):
    config.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=message):
        load_bare_model(str(tmp_path))


REMOTE_CODE = """
from transformers import OlmoeForCausalLM
class OwnModel(OlmoeForCausalLM):
    pass
"""


def test_code_of_the_checkpoint_comes_first_where_it_is_trusted(tmp_path, monkeypatch):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    path = save_config(
        tmp_path / "model", "olmoe", "OlmoeForCausalLM", auto_map={"AutoModelForCausalLM": "own.OwnModel"}
    )
    (tmp_path / "model" / "own.py").write_text(REMOTE_CODE)
    assert type(load_bare_model(path)).__name__ == "OlmoeForCausalLM"
    bare = load_bare_model(path, trust_remote_code=True)
    assert type(bare).__name__ == "OwnModel" and bare.device.type == "meta"
