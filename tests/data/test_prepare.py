# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Data as a whole: what is empty, of no kind or of another vocabulary, and that every process makes the same."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from optimum_evoesap.data import DataError, prepare_data
from tests.data.texts import PLAIN, SENTENCES, make_tokenizer, options, write_jsonl


@pytest.mark.parametrize("data", [[], [""], [" \n", {"text": None}], {"train": []}])
def test_empty_data(data, tokenizer):
    with pytest.raises(ValueError, match="^search data: a (list|dict) is empty"):
        prepare_data(data, options(), tokenizer, name="search data")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (["text"], "no tokenizer was given"),
        (7, "int is not a kind of data"),
        ([7], "int is not a kind of row"),
        ([{"input_ids": [1, 2]}, "text"], "no tokens in `input_ids`"),
        ({"validation": ["text"]}, "no split 'train'; a mapping was given with validation"),
    ],
)
def test_data_of_no_kind(data, message):
    with pytest.raises(DataError, match=message):
        prepare_data(data, options())


def test_vocabulary_of_another_tokenizer(tokenizer):
    highest = max(token for text in SENTENCES for token in tokenizer(text)["input_ids"])
    prepare_data(SENTENCES, options(num_samples=1), tokenizer, vocab_size=highest + 1)
    with pytest.raises(DataError, match=f"token id {highest} does not fit the model's vocabulary of {highest}"):
        prepare_data(SENTENCES, options(sequence_length=64), tokenizer, vocab_size=highest)


def test_another_process_makes_the_same_data(tmp_path):
    tokenizer = make_tokenizer(PLAIN)
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    rows = [{"instruction": f"Say {i}.", "output": f"It is {i}."} for i in range(40)]
    path = write_jsonl(tmp_path / "a.jsonl", rows)
    here = prepare_data(path, options(num_samples=8, sequence_length=32), tokenizer)
    program = (
        "import sys; from transformers import AutoTokenizer; from optimum_evoesap.data import *\n"
        "tokenizer = AutoTokenizer.from_pretrained(sys.argv[2])\n"
        "print(prepare_data(sys.argv[1], DataOptions(8, 32), tokenizer).fingerprint)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", program, path, str(tmp_path / "tokenizer")]
    there = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert there.stdout.split()[-1] == here.fingerprint
    assert len(here) == 8


@pytest.mark.parametrize("packing", [True, False])
def test_few_documents_in_many_windows_are_said(packing, tokenizer, caplog):
    """Also where the same documents come again and again; one of them more would be enough."""
    texts = [f"{number} is a number. " + "So it goes. " * 20 for number in range(15)]
    prepare_data(texts * 4, options(num_samples=40, packing=packing), tokenizer, name="search data")
    assert caplog.text.count("search data: the 40 windows of a list are of no more than") == 1
    assert "different documents" in caplog.text and "more documents" in caplog.text
    caplog.clear()
    texts = [f"{number} is a number." for number in range(200)]
    prepare_data(texts, options(num_samples=16, packing=packing), tokenizer)
    prepare_data(texts[:1], options(num_samples=1, packing=packing), tokenizer)
    assert not caplog.text


def test_windows_that_are_all_alike_are_few_documents(caplog):
    data = [{"input_ids": [1, 2, 3]}, {"input_ids": [4, 5, 6]}] * 10
    prepare_data(data, options(num_samples=20))
    assert "the 20 windows of a list are of no more than 2 different documents" in caplog.text
    caplog.clear()
    prepare_data([{"input_ids": [1, 2, number]} for number in range(20)], options(num_samples=20))
    prepare_data(torch.arange(60).reshape(20, 3), options(num_samples=20))
    assert not caplog.text
