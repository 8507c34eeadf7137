# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A model whose tokenizer is broken: text is refused before its weights are read, tokens need none."""

from __future__ import annotations

import json

import pytest

from optimum_evoesap import EvoESAPConfig, MoEPruner, measure_prunability
from optimum_evoesap.data import DataError
from tests.model_matrix import make_model
from tests.models.test_processors import copy_tokenizer


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


@pytest.fixture
def unreadable(tmp_path):
    """A checkpoint with a tokenizer, and weights that nobody may read."""
    model = make_model("olmoe")
    model.save_pretrained(tmp_path / "model")
    copy_tokenizer(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"not weights")
    return tmp_path / "model"


@pytest.mark.parametrize(
    ("name", "content", "changes", "message"),
    [
        ("gone.jsonl", None, {}, "search data: the path .*gone.jsonl' does not exist"),
        ("empty.jsonl", "", {}, "search data: empty.jsonl is empty"),
        ("empty.txt", "", {}, "search data: empty.txt is empty"),
        ("notes.odt", "words", {}, "search data: the file .*notes.odt' is of an unknown kind"),
        ("texts.jsonl", '{"txt": "words"}\n', {"columns": {"text": "text"}}, "`columns` names 'text'.*mean 'txt'"),
    ],
)
def test_what_will_be_read_is_opened_before_the_weights(name, content, changes, message, unreadable, tmp_path):
    (tmp_path / "good.jsonl").write_text('{"text": "some words", "txt": "some words"}\n')
    if content is not None:
        (tmp_path / name).write_text(content)
    wanted = config(tmp_path / "good.jsonl", search_dataset=str(tmp_path / name), **changes)
    with pytest.raises(DataError, match=message):
        MoEPruner.from_pretrained(unreadable, wanted, will_be_read=["calibration", "search"])
    with pytest.raises(DataError, match=message.removeprefix("search data: ")):
        measure_prunability(unreadable, config(tmp_path / name, criterion="frequency", **changes))


def test_data_that_will_not_be_read_are_not_opened(unreadable, tmp_path):
    for kinds in ((), ("calibration",)):
        wanted = config(tmp_path / "gone.jsonl", calibration_dataset=str(tmp_path / "good.jsonl"))
        (tmp_path / "good.jsonl").write_text('{"text": "some words"}\n')
        with pytest.raises(Exception, match="(?i)header|safetensor|weights"):
            MoEPruner.from_pretrained(unreadable, wanted, will_be_read=kinds)


def test_without_a_tokenizer_data_at_their_default_are_looked_at_where_they_will_be_read(broken, monkeypatch):
    (broken / "model.safetensors").write_bytes(b"not weights")
    opened = []

    def rows(source, options, is_shuffled):
        opened.append((source.name, is_shuffled))
        return [{"text": "words"}]

    monkeypatch.setattr("optimum_evoesap.run.text_data.open_source", rows)
    with pytest.raises(DataError, match=r"holds text, and .* has no tokenizer that can be used \(.+\): give one"):
        MoEPruner.from_pretrained(broken, EvoESAPConfig(sparsity=0.25), will_be_read=["calibration"])
    assert opened == [("theblackcat102/evol-codealpaca-v1", False)]
