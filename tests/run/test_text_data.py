# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A model whose tokenizer is broken: text is refused before its weights are read, tokens need none."""

from __future__ import annotations

import json

import pytest

from optimum_evoesap import EvoESAPConfig, MoEPruner
from optimum_evoesap.data import DataError
from tests.model_matrix import make_model


@pytest.fixture
def broken(tmp_path):
    """A checkpoint with a tokenizer that nothing can read, and weights that nobody may read."""
    make_model("olmoe").save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "tokenizer.json").write_text('{"model": {}}')
    (tmp_path / "model" / "tokenizer_config.json").write_text("{}")
    return tmp_path / "model"


def config(path, **changes):
    names = {"calibration_dataset": str(path), "search_dataset": str(path)}
    return EvoESAPConfig(sparsity=0.25, calibration_samples=2, search_samples=2, sequence_length=8, **names | changes)


def test_text_is_refused_before_the_weights(broken, tmp_path):
    (broken / "model.safetensors").write_bytes(b"not weights")
    (tmp_path / "texts.jsonl").write_text('{"text": "some words"}\n')
    with pytest.raises(
        DataError, match="calibration data: texts.jsonl holds text, and .* has no tokenizer that can be"
    ):
        MoEPruner.from_pretrained(broken, config(tmp_path / "texts.jsonl"))


@pytest.mark.parametrize("changes", [{}, {"calibration_dataset": None, "search_dataset": None}])
def test_tokens_need_no_tokenizer(changes, broken, tmp_path, caplog):
    rows = [{"input_ids": [number % 90 + 1 for number in range(start, start + 8)]} for start in range(6)]
    (tmp_path / "tokens.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pruner = MoEPruner.from_pretrained(broken, config(tmp_path / "tokens.jsonl", **changes))
    assert pruner.tokenizer is None and "only tokenized data can be used" in caplog.text
    pruner.calibrate(rows if changes else None)
    assert pruner.statistics is not None


def test_data_at_their_default_may_still_be_given_in_memory(broken):
    assert MoEPruner.from_pretrained(broken, EvoESAPConfig(sparsity=0.25)).tokenizer is None
