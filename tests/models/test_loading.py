# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The class that a checkpoint loads with, and the processor or tokenizer that comes with it."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedTokenizerBase

from optimum_evoesap import MoEPruner
from optimum_evoesap.models.classes import choose_model
from optimum_evoesap.models.loading import load_bare_model, load_model
from optimum_evoesap.models.processors import find_processor, load_processor
from tests import model_matrix
from tests.model_matrix.rows import ROWS


# A row may have a class of its own, which is in no release.
INSTALLED = [name for name, row in ROWS.items() if row.is_installed and hasattr(transformers, row.model_class)]
TOKENIZER = Path(__file__).parents[2] / "examples" / "tiny_moe" / "checkpoint"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def save_config(folder, model_type, *architectures, **changes):
    config = ROWS[model_type].make_config()
    config.architectures = list(architectures) or None
    for name, value in changes.items():
        setattr(config, name, value)
    config.save_pretrained(folder)
    return str(folder)


def copy_tokenizer(folder):
    for name in TOKENIZER_FILES:
        shutil.copy(TOKENIZER / name, folder)
    return str(folder)


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


@pytest.mark.parametrize("model_type", ["olmoe", "llama4", "qwen3_vl_moe"])
def test_the_loaded_model_is_the_one_that_was_checked(model_type, tmp_path):
    model_matrix.make_model(model_type).save_pretrained(tmp_path)
    checked = []
    model = load_model(str(tmp_path), checked.append, dtype="bfloat16").model
    bare = checked[0].model
    assert type(model).__name__ == type(bare).__name__ == ROWS[model_type].model_class
    assert {name: tensor.shape for name, tensor in model.state_dict().items()} == {
        name: tensor.shape for name, tensor in bare.state_dict().items()
    }
    assert str(model.dtype) == "torch.bfloat16"


def test_the_text_model_of_a_multimodal_type_loads_and_is_checked(tmp_path):
    model_matrix.make_model("llama4").save_pretrained(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    config.architectures = ["Llama4ForCausalLM"]
    config.save_pretrained(tmp_path)
    checked = []
    model, bare = load_model(str(tmp_path), checked.append).model, checked[0].model
    assert type(model).__name__ == type(bare).__name__ == "Llama4ForCausalLM"
    assert model.num_parameters() == bare.num_parameters()


def test_a_refused_model_reads_no_weights(tmp_path):
    def refuse(sparse_model):
        raise ValueError(f"refused {type(sparse_model.model).__name__}")

    path = save_config(tmp_path, "llama4", "Llama4ForConditionalGeneration")
    with pytest.raises(ValueError, match="refused Llama4ForConditionalGeneration"):
        load_model(path, refuse)


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


def test_a_folder_that_is_not_there(caplog):
    with pytest.raises(FileNotFoundError, match="There is no folder ./nowhere"):
        load_bare_model("./nowhere")
    with pytest.raises(FileNotFoundError, match="There is no folder ./nowhere"):
        MoEPruner.from_pretrained("./nowhere")
    assert not caplog.text  # nothing about a tokenizer, which is not what is wrong


# Processors


def test_a_model_with_a_tokenizer_alone_gives_it(tmp_path, caplog):
    path = copy_tokenizer(tmp_path)
    with caplog.at_level(logging.WARNING, logger="optimum_evoesap"):
        assert isinstance(find_processor(path), PreTrainedTokenizerBase)
    assert not caplog.text


def test_without_a_tokenizer_there_is_a_warning(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="optimum_evoesap"):
        assert find_processor(save_config(tmp_path, "olmoe")) is None
    assert "No tokenizer could be loaded from" in caplog.text
    with pytest.raises((OSError, ValueError)):
        load_processor(str(tmp_path))


def test_a_processor_whose_package_is_missing_leaves_the_tokenizer_and_a_warning(tmp_path, caplog, monkeypatch):
    path = copy_tokenizer(tmp_path)
    (tmp_path / "processor_config.json").write_text(json.dumps({"processor_class": "LlavaProcessor"}))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": "CLIPImageProcessor"}))

    def without_pillow(*args, **kwargs):
        raise ImportError("CLIPImageProcessor requires the PIL library but it was not found")

    monkeypatch.setattr(transformers.AutoProcessor, "from_pretrained", without_pillow)
    with caplog.at_level(logging.WARNING, logger="optimum_evoesap"):
        assert isinstance(find_processor(path), PreTrainedTokenizerBase)
    assert "requires the PIL library" in caplog.text and "saved without it" in caplog.text


def test_a_processor_without_a_tokenizer_is_left_aside(tmp_path, monkeypatch):
    path = copy_tokenizer(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text("{}")
    monkeypatch.setattr(transformers.AutoProcessor, "from_pretrained", lambda *args, **kwargs: object())
    assert isinstance(load_processor(path), PreTrainedTokenizerBase)


IN_A_PROCESS_OF_ITS_OWN = """
import sys, torch
from optimum_evoesap import EvoESAPConfig, MoEPruner
from transformers import AutoModelForCausalLM
source, target = sys.argv[1:3]
try:
    MoEPruner.from_pretrained(source)
except ValueError as error:
    assert "trust_remote_code=True" in str(error), error
else:
    raise AssertionError("code that nobody trusts must not run")
config = EvoESAPConfig(sparsity=None, allocation=[5, 2], sequence_length=16)
pruner = MoEPruner.from_pretrained(source, config, trust_remote_code=True)
assert type(pruner.model).__module__.startswith("transformers_modules."), type(pruner.model)
tokens = torch.randint(0, 96, (8, 16), generator=torch.Generator().manual_seed(0))
model = pruner.prune(target, calibration_data=[{"input_ids": each} for each in tokens])
assert [len(layer.mlp.experts) for layer in model.model.layers] == [3, 6]
reloaded = AutoModelForCausalLM.from_pretrained(target, trust_remote_code=True)
with torch.no_grad():
    assert torch.equal(model(tokens).logits, reloaded(tokens).logits)
"""


def test_a_model_with_code_of_its_own(tmp_path, monkeypatch):
    """Through transformers' own dynamic modules, in a process of its own."""
    from tests.remote_code.configuration_listed_moe import ListedMoeConfig
    from tests.remote_code.modeling_listed_moe import ListedMoeForCausalLM

    model = model_matrix.make_model("listed_moe")
    for each in (ListedMoeConfig, ListedMoeForCausalLM):
        monkeypatch.setattr(each, "_auto_class", None, raising=False)  # so that registering is undone
    ListedMoeConfig.register_for_auto_class()
    ListedMoeForCausalLM.register_for_auto_class("AutoModelForCausalLM")
    model.save_pretrained(tmp_path / "source")
    assert (tmp_path / "source" / "modeling_listed_moe.py").is_file()
    done = subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS_OF_ITS_OWN, str(tmp_path / "source"), str(tmp_path / "pruned")],
        env=os.environ | {"HF_MODULES_CACHE": str(tmp_path / "modules"), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
