# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The processor or tokenizer that comes with a checkpoint."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
import transformers
from transformers import PreTrainedTokenizerBase

from optimum_evoesap.models.processors import find_processor, load_processor
from tests.models.checkpoints import save_config


TOKENIZER = Path(__file__).parents[2] / "examples" / "tiny_moe" / "checkpoint"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def copy_tokenizer(folder):
    for name in TOKENIZER_FILES:
        shutil.copy(TOKENIZER / name, folder)
    return str(folder)


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


def broken_files():
    """Contents of tokenizer.json and tokenizer_config.json that nothing can be made of."""
    whole = json.loads((TOKENIZER / "tokenizer.json").read_text())
    settings = json.loads((TOKENIZER / "tokenizer_config.json").read_text())
    model = whole["model"]
    yield "{", None
    yield "[]", None
    yield "{}", None
    yield json.dumps({**whole, "model": {}}), None
    yield json.dumps({**whole, "model": {**model, "type": "Nothing"}}), None
    yield json.dumps({**whole, "model": {**model, "vocab": 3}}), None
    yield json.dumps({**whole, "model": {**model, "merges": [["no", "such"]]}}), None
    yield json.dumps({**whole, "model": {**model, "vocab": {}, "merges": []}}), None
    yield json.dumps({**whole, "added_tokens": [{"id": 0}]}), None
    yield json.dumps({**whole, "pre_tokenizer": {"type": "Nothing"}}), None
    yield json.dumps({key: value for key, value in whole.items() if key != "added_tokens"}), None
    for changes in ({"tokenizer_class": 5}, {"added_tokens_decoder": 5}, {"added_tokens_decoder": {"x": {}}}):
        yield None, json.dumps({**settings, **changes})
    for text in ("[]", "3", "{"):
        yield None, text


@pytest.mark.parametrize("case", range(len(list(broken_files()))))
def test_a_broken_tokenizer_is_our_error(case, tmp_path, caplog):
    path = copy_tokenizer(tmp_path)
    for name, text in zip(TOKENIZER_FILES, list(broken_files())[case]):
        if text is not None:
            (tmp_path / name).write_text(text)
    try:
        tokenizer = load_processor(path)
    except (OSError, ValueError, ImportError) as error:
        assert str(tmp_path) in str(error)
        assert find_processor(path) is None
        assert "No tokenizer could be loaded from" in caplog.text
    else:  # some of what is wrong does no harm
        assert len(tokenizer) and isinstance(tokenizer("some words")["input_ids"], list)
