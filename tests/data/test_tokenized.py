# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Data as sequences of tokens: split, summed up, capped and told apart."""

from __future__ import annotations

import pytest
import torch

from optimum_evoesap.data import DataError, TokenizedData, prepare_data
from tests.data.texts import options


def test_only_some_with_position_ids_is_an_error():
    with pytest.raises(DataError, match="only some of the sequences have `position_ids`"):
        prepare_data([{"input_ids": [1, 2], "position_ids": [0, 1]}, {"input_ids": [1, 2]}], options())


def test_tokenized_data_passes_through_capped():
    data = prepare_data([[i, i + 1, i + 2] for i in range(6)], options(num_samples=6))
    assert prepare_data(data, options(num_samples=6)) is data
    capped = prepare_data(data, options(num_samples=2, sequence_length=2))
    assert [item["input_ids"].tolist() for item in capped.sequences] == [[0, 1, 2], [1, 2, 3]]
    assert capped.description == "a list, 6 windows of up to 16 tokens, the first 2 of 6"
    with pytest.raises(DataError, match="token id 7 does not fit"):
        prepare_data(data, options(num_samples=6), vocab_size=7)


def test_split_and_summary():
    data = prepare_data([[i, i + 1, i + 2] for i in range(6)], options(num_samples=6))
    first, last = data.split(2)
    assert [int(item["input_ids"][0]) for item in first.sequences] == [0, 1, 2, 3]
    assert [int(item["input_ids"][0]) for item in last.sequences] == [4, 5]
    assert last.description.endswith("the last 2 of 6") and len(data.split(0)[1]) == 0
    assert first.summary() == {
        "description": "a list, 6 windows of up to 16 tokens, the first 4 of 6",
        "fingerprint": first.fingerprint,
        "sequences": 4,
        "tokens": 12,
        "scored_tokens": 8,
    }
    for wrong in (-1, 6):
        with pytest.raises(ValueError, match=f"`num_last` is {wrong}"):
            data.split(wrong)


def test_fingerprint_follows_every_value_name_and_shape():
    def made(**tensors):
        return TokenizedData([{name: torch.tensor(values) for name, values in tensors.items()}], "made").fingerprint

    base = made(input_ids=[1, 2, 3], labels=[-100, 2, 3])
    assert base == made(labels=[-100, 2, 3], input_ids=[1, 2, 3])
    others = [
        made(input_ids=[1, 2, 3], labels=[-100, -100, 3]),
        made(input_ids=[1, 2, 4], labels=[-100, 2, 3]),
        made(input_ids=[1, 2, 3], labels=[-100, 2, 3], position_ids=[0, 1, 2]),
        made(input_ids=[1, 2, 3], position_ids=[-100, 2, 3]),
        made(input_ids=[[1, 2, 3]], labels=[[-100, 2, 3]]),
    ]
    assert len({base, *others}) == 6


def test_windows_keep_their_domains_when_they_are_split_and_capped():
    sequences = prepare_data([[i, i + 1, i + 2] for i in range(6)], options(num_samples=6)).sequences
    data = TokenizedData(sequences, "six", ("a", "b", "a", "b", "a", "a"))
    assert data.mixture == data.domains
    first, last = data.split(2)
    assert first.domains == ("a", "b", "a", "b") and last.domains == ("a", "a") and last.mixture == ()
    assert prepare_data(data, options(num_samples=3)).domains == ("a", "b", "a")
    assert TokenizedData(sequences, "six").split(1)[0].domains is None
    with pytest.raises(DataError, match="2 `domains` for 6 sequences"):
        TokenizedData(sequences, "six", ("a", "b"))


def test_domains_do_not_change_the_fingerprint():
    """Scores of windows do not depend on them, so a run with another goal goes on from the same scores."""
    sequences = prepare_data([[1, 2, 3]], options()).sequences
    assert TokenizedData(sequences, "", ("a",)).fingerprint == TokenizedData(sequences, "").fingerprint
