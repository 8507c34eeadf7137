# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Text is cut before it is tokenized, exactly, and spans of characters become spans of tokens."""

from __future__ import annotations

import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from optimum_evoesap.data import DataError
from optimum_evoesap.data.tokenizing import mark_spans, tokenize
from tests.data.texts import PLAIN, SENTENCES, make_tokenizer, options, prepare_data


def trained(model, trainer, pre_tokenizer=None, normalizer=None, ends=False):
    tokenizer = Tokenizer(model)
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.train_from_iterator([*SENTENCES, "aaaa aaaaa aaaaaa", "1234567"] * 3, trainer)
    if ends:
        tokenizer.post_processor = processors.TemplateProcessing(
            "<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>")


SPECIAL = ["<s>", "</s>", "<unk>"]
ALPHABET = pre_tokenizers.ByteLevel.alphabet()
TOKENIZERS = {
    "bytes": lambda: make_tokenizer(),
    "words of one piece": lambda: trained(
        models.BPE(unk_token="<unk>", byte_fallback=True),
        trainers.BpeTrainer(vocab_size=120, special_tokens=SPECIAL, show_progress=False),
        normalizer=normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
    ),
    "unigram": lambda: trained(
        models.Unigram(),
        trainers.UnigramTrainer(vocab_size=100, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False),
        pre_tokenizers.Metaspace(),
        normalizers.Sequence([normalizers.NFKC(), normalizers.Strip()]),
        ends=True,
    ),
    "bytes with ends": lambda: trained(
        models.BPE(),
        trainers.BpeTrainer(vocab_size=330, special_tokens=SPECIAL, initial_alphabet=ALPHABET, show_progress=False),
        pre_tokenizers.ByteLevel(),
        ends=True,
    ),
}


@pytest.fixture(scope="module", params=TOKENIZERS)
def any_tokenizer(request):
    return TOKENIZERS[request.param]()


PIECES = st.sampled_from(
    [*SENTENCES, "a", "aa", " ", "  ", "\n", "é", "😀", "1", "</s>", "routes", "x" * 40, "e\u0301"]
)


@settings(max_examples=60, deadline=None)
@given(pieces=st.lists(PIECES, min_size=1, max_size=60), times=st.integers(1, 400), limit=st.integers(1, 300))
def test_a_cut_text_has_the_tokens_of_the_whole(any_tokenizer, pieces, times, limit):
    text = "".join(pieces) * times
    whole = any_tokenizer(text, verbose=False)["input_ids"]
    assert tokenize(any_tokenizer, text, True, limit).input_ids[:limit] == whole[:limit]
    assert tokenize(any_tokenizer, text, True).input_ids == whole


class Slow:
    """A tokenizer that does not tell where its tokens stand."""

    is_fast = False

    def __init__(self, tokenizer):
        self._tokenizer = tokenizer

    def __call__(self, text, **arguments):
        return {"input_ids": self._tokenizer(text, **arguments)["input_ids"]}


@settings(max_examples=100, deadline=None)
@given(pieces=st.lists(PIECES, min_size=1, max_size=12), data=st.data())
def test_spans_between_words_are_marked_alike_with_and_without_offsets(pieces, data):
    tokenizer = make_tokenizer()
    text = "<|user|>".join(pieces)
    borders = [place for place in range(len(text) + 1) if text[place:].startswith("<|user|>") or place == len(text)]
    borders = sorted(data.draw(st.sets(st.sampled_from(borders), max_size=4)))
    spans = list(zip(borders[::2], borders[1::2]))
    fast, slow = tokenize(tokenizer, text, False), tokenize(Slow(tokenizer), text, False)
    assert slow.ends is None and fast.ends is not None
    marks = mark_spans(tokenizer, fast, spans, False)
    assert marks == mark_spans(Slow(tokenizer), slow, spans, False)
    scored = [token for token, mark in zip(fast.input_ids, marks) if mark]
    assert tokenizer.decode(scored) == "".join(text[start:end] for start, end in spans)


def test_a_token_across_a_border_is_of_the_span_that_it_starts_before(tokenizer):
    text = "route the layer"
    for one in (tokenizer, Slow(tokenizer)):
        tokens = tokenize(one, text, False)
        assert tokenizer.convert_ids_to_tokens(tokens.input_ids)[-1] == "Ġlayer"
        assert mark_spans(one, tokens, [(12, 15)], False)[-1] and not mark_spans(one, tokens, [(0, 12)], False)[-1]


@pytest.mark.parametrize("template", [None, PLAIN])
@pytest.mark.parametrize("packing", [True, False])
@pytest.mark.parametrize("is_chat", [True, False])
def test_a_huge_row_takes_no_more_than_its_windows(template, packing, is_chat):
    """As text and as an answer; it is some copies of the text for a template, and never all of its tokens."""
    tokenizer = make_tokenizer(template)
    text = "The first expert routes token 1 to the layer. " * 440_000
    data = [[{"role": "user", "content": "Say it."}, {"role": "assistant", "content": text}]] if is_chat else [text]
    prepare_data(data[:1] if is_chat else ["short"], options(num_samples=1), tokenizer)
    tracemalloc.start()
    start = time.perf_counter()
    found = prepare_data(data, options(num_samples=4, sequence_length=16, packing=packing), tokenizer)
    seconds = time.perf_counter() - start
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 * len(text) and seconds < 5
    short = [[data[0][0], {"role": "assistant", "content": text[:4000]}]] if is_chat else [text[:4000]]
    assert found.fingerprint == prepare_data(short, options(num_samples=4, packing=packing), tokenizer).fingerprint


def test_a_failing_tokenizer_is_our_error(tokenizer):
    class Failing(Slow):
        def __call__(self, text, **arguments):
            raise Exception("no token for this")

    with pytest.raises(DataError, match="the Failing cannot tokenize a text: Exception: no token for this"):
        tokenize(Failing(tokenizer), "text", False)
    with pytest.raises(DataError, match="row 2 of a list: character 3 of a text is '.ud800'"):
        prepare_data(["fine", "no\ud800"], options(), tokenizer)
