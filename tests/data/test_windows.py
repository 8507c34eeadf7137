# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Windows of documents, packed or one by one, and the batches of them."""

from __future__ import annotations

import logging

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import OlmoeConfig, OlmoeForCausalLM

from optimum_evoesap.data import prepare_data
from optimum_evoesap.data.encoding import EncodedDocument
from optimum_evoesap.data.windows import packed_windows
from tests.data.texts import SENTENCES, options


@given(lengths=st.lists(st.integers(0, 23), max_size=12), sequence_length=st.integers(2, 9))
@settings(deadline=None)
def test_packing_keeps_every_token_once_and_in_order(lengths, sequence_length):
    documents, starts, total = [], set(), 0
    for length in lengths:
        tokens = list(range(total, total + length))
        starts.update(tokens[:1])
        documents.append(EncodedDocument(tokens, [-100, *tokens[1:]] if tokens else []))
        total += length
    windows = list(packed_windows(documents, sequence_length))

    tokens = [token for window in windows for token in window["input_ids"].tolist()]
    assert tokens == list(range(len(tokens)))
    assert all(len(window["input_ids"]) == sequence_length for window in windows[:-1])
    # What is dropped is less than a window, and has no scored token.
    dropped = set(range(len(tokens), total))
    assert len(dropped) < sequence_length
    assert dropped <= starts | {len(tokens)}
    assert all(len(window["labels"]) == sequence_length or window["labels"].max() >= 0 for window in windows)
    for window in windows:
        position = -1
        for index, token in enumerate(window["input_ids"].tolist()):
            begins = index == 0 or token in starts
            position = 0 if begins else position + 1
            assert window["position_ids"][index] == position
            assert window["labels"][index] == (-100 if begins else token)


def test_packed_windows_hold_the_documents_as_tokenized(tokenizer):
    texts = SENTENCES * 5
    data = prepare_data(texts, options(num_samples=5), tokenizer)
    expected = [token for text in texts for token in tokenizer(text)["input_ids"]]
    assert torch.cat([item["input_ids"] for item in data.sequences]).tolist() == expected[: 5 * 16]
    assert [len(item["input_ids"]) for item in data.sequences] == [16] * 5
    assert data.num_tokens == 80 and "attention_mask" not in data.sequences[0]
    assert data.description == "a list, 5 packed windows of 16 tokens"


def test_too_little_data_is_said_and_the_rest_is_kept(tokenizer, caplog):
    tokens = len(tokenizer(SENTENCES[0])["input_ids"])
    with caplog.at_level(logging.WARNING, logger="optimum_evoesap.data"):
        data = prepare_data([SENTENCES[0]] * 3, options(num_samples=50, sequence_length=tokens + 1), tokenizer)
    assert [len(item["input_ids"]) for item in data.sequences] == [tokens + 1, tokens + 1, tokens - 2]
    assert "calibration data: wanted 50 windows of a list, found 3" in caplog.text
    caplog.clear()
    prepare_data([SENTENCES[0]] * 3, options(num_samples=2, sequence_length=tokens + 1), tokenizer)
    assert not caplog.text


def test_single_windows_are_truncated_and_padded_in_batches(tokenizer):
    long, short = " ".join(SENTENCES), "to the layer"
    data = prepare_data([short, long], options(num_samples=2, packing=False), tokenizer)
    length = len(tokenizer(short)["input_ids"])
    (batch,) = data.batches(2)
    assert set(batch) == {"input_ids", "labels", "attention_mask"}
    assert batch["input_ids"].shape == (2, 16) and batch["input_ids"].dtype == torch.int64
    assert batch["input_ids"][0].tolist() == tokenizer(short)["input_ids"] + [0] * (16 - length)
    assert batch["input_ids"][1].tolist() == tokenizer(long)["input_ids"][:16]
    assert batch["attention_mask"].tolist() == [[1] * length + [0] * (16 - length), [1] * 16]
    assert (batch["labels"][0, length:] == -100).all() and batch["labels"][0, 1:length].ge(0).all()
    assert data.num_tokens == length + 16 and data.num_scored_tokens == length + 14
    assert all("attention_mask" not in batch for batch in data.batches(1))


def test_packed_windows_are_never_padded(tokenizer):
    data = prepare_data(SENTENCES, options(num_samples=50, sequence_length=11), tokenizer)
    lengths = [len(item["input_ids"]) for item in data.sequences]
    assert len(set(lengths)) == 2, "the test needs a shorter last window"
    batches = list(data.batches(len(lengths), device="cpu"))
    assert all(set(batch) == {"input_ids", "labels", "position_ids"} for batch in batches)
    assert [row.tolist() for batch in batches for row in batch["input_ids"]] == [
        item["input_ids"].tolist() for item in data.sequences
    ]
    with pytest.raises(ValueError, match="`batch_size` is 0"):
        next(data.batches(0))


def tiny_olmoe(vocab_size):
    torch.manual_seed(0)
    config = OlmoeConfig(
        vocab_size=vocab_size,
        hidden_size=32,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        num_experts=4,
        num_experts_per_tok=2,
        initializer_range=0.5,
    )
    return OlmoeForCausalLM(config).eval()


@torch.no_grad()
def test_position_ids_isolate_packed_documents(tokenizer):
    model = tiny_olmoe(len(tokenizer))
    lengths = [len(tokenizer(text)["input_ids"]) for text in SENTENCES[:2]]
    data = prepare_data(SENTENCES[:2], options(num_samples=1, sequence_length=sum(lengths)), tokenizer)
    (batch,) = data.batches(1)
    del batch["labels"]
    packed = model(**batch, use_cache=False).logits[0, lengths[0] :]
    alone = model(batch["input_ids"][:, lengths[0] :], use_cache=False).logits[0]
    torch.testing.assert_close(packed, alone, atol=1e-5, rtol=1e-5)
    joined = model(batch["input_ids"], use_cache=False).logits[0, lengths[0] :]
    assert (joined - alone).abs().max() > 1e-2, "without position_ids the documents see each other"
