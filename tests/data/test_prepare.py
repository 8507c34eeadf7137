# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Data as a whole: what is empty, of no kind or of another vocabulary, and that every process makes the same."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

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
