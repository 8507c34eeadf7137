# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Rows that hold tokens."""

from __future__ import annotations

import json

import pytest
import torch

from optimum_evoesap.data import DataError, prepare_data
from tests.data.texts import SENTENCES, decoded, options, write_jsonl


def test_tokenized_rows_need_no_tokenizer():
    rows = [{"input_ids": [5, 6, 7, 8]}, {"input_ids": torch.tensor([1, 2]), "labels": torch.tensor([1, 2])}]
    data = prepare_data(rows, options(num_samples=9, sequence_length=3), vocab_size=9)
    assert [item["input_ids"].tolist() for item in data.sequences] == [[5, 6, 7], [1, 2]]
    assert [item["labels"].tolist() for item in data.sequences] == [[-100, 6, 7], [-100, 2]]
    assert data.description == "a list, 2 windows of up to 3 tokens"
    bare = prepare_data([[5, 6, 7, 8], torch.tensor([1, 2])], options(sequence_length=3))
    assert bare.fingerprint == data.fingerprint


def test_tokenized_rows_can_come_from_a_file_or_a_tokenizer(tmp_path, tokenizer):
    path = write_jsonl(tmp_path / "tokens.jsonl", [{"input_ids": [5, 6, 7], "labels": [-100, -100, 7]}])
    assert prepare_data(path, options(num_samples=1)).sequences[0]["labels"].tolist() == [-100, -100, 7]
    encoding = tokenizer(SENTENCES[:2], return_tensors="pt")
    data = prepare_data(encoding, options(num_samples=2, sequence_length=64))
    assert [decoded(tokenizer, item) for item in data.sequences] == SENTENCES[:2]


def test_what_nothing_predicts_is_not_scored():
    left_padded = {"input_ids": [0, 0, 5, 6], "attention_mask": [0, 0, 1, 1], "labels": [0, 0, 5, 6]}
    packed = {"input_ids": [1, 2, 3, 4, 5], "position_ids": [0, 1, 0, 0, 1]}  # one document is a single token
    data = prepare_data([left_padded], options())
    assert data.sequences[0]["labels"].tolist() == [-100, -100, -100, 6]
    assert (data.num_tokens, data.num_scored_tokens) == (2, 1)
    assert next(data.batches(1))["attention_mask"].tolist() == [[0, 0, 1, 1]]
    assert prepare_data([packed], options()).sequences[0]["labels"].tolist() == [-100, 2, -100, -100, 5]


def test_scored_tokens_of_tokenized_rows():
    row = {"input_ids": [1, 2, 3], "labels": [-100, -100, 3]}
    assert prepare_data([row], options(scored_tokens="answers")).num_scored_tokens == 1
    assert prepare_data([row], options(scored_tokens="all")).num_scored_tokens == 2
    with pytest.raises(DataError, match="without `labels` do not say which tokens are answers"):
        prepare_data([{"input_ids": [1, 2, 3]}], options(scored_tokens="answers"))


def test_tensors_of_the_caller_are_left_alone():
    input_ids = torch.tensor([1, 2, 3])
    labels = input_ids.clone()
    data = prepare_data([{"input_ids": input_ids, "labels": labels}], options())
    assert labels.tolist() == [1, 2, 3]
    input_ids[1] = 8
    assert data.sequences[0]["input_ids"].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"input_ids": []}, "no tokens in `input_ids`"),
        ({"input_ids": None, "labels": [1]}, "no tokens in `input_ids`"),
        ({"input_ids": [1, 2], "labels": [1]}, "must have one shape"),
        ({"input_ids": [1, 2, 3], "labels": [2, 3, -100]}, "not shifted"),
        ({"input_ids": [1.0, 2.0]}, "not integers"),
        ({"input_ids": ["a", "b"]}, "not a tensor or list of integers"),
        ({"input_ids": torch.ones(1, 1, 2, dtype=torch.int64)}, "3 dimensions"),
        ({"input_ids": [1, 2], "labels": [-100, -100]}, "no token is scored in a list, 1 window"),
        (
            {"input_ids": [1, 50301]},
            "token id 50301 does not fit the model's vocabulary of 50280: use the model's own",
        ),
        ({"input_ids": [1, -1]}, "token id -1 does not fit"),
    ],
)
def test_tokenized_rows_that_cannot_be_used(row, message):
    with pytest.raises(ValueError, match=f"^search data: .*{message}"):
        prepare_data([row], options(num_samples=1), vocab_size=50280, name="search data")


@pytest.mark.parametrize(
    "row",
    [
        {"messages": "[" * 60_000},
        {"text": "words", "other": json.loads("[" * 900 + "]" * 900)},
        {"input_ids": [10**400, []]},
        {"input_ids": [10**30]},
    ],
)
def test_values_of_no_end_are_an_error_of_the_row(row, tokenizer):
    with pytest.raises(DataError, match="row 1 of a list"):
        prepare_data([row], options(), tokenizer)
