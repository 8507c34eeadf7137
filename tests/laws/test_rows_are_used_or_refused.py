# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Whatever a row holds is used, or refused with its number and the place in it, whoever wrote it."""

from __future__ import annotations

import json
from functools import cache

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from optimum_evoesap.data import DataError, DataOptions, prepare_data
from tests.data.chat_templates import TEMPLATES
from tests.data.texts import make_tokenizer


# Templates that render all that a conversation of text holds, and none at all.
SHAPES = ["chatml", "qwen3", "gemma", None]
ROLES = [
    "user",
    "assistant",
    "system",
    "tool",
    "human",
    "gpt",
    "model",
    "function_call",
    "observation",
    "Human",
    "wizard",
]
# Without marks of reasoning, which are not text: templates set apart, or leave out, what stands before them.
WORDS = (
    st.text(st.characters(exclude_categories=["Cs", "Cc", "Co"]), min_size=1, max_size=12)
    .filter(lambda text: "think>" not in text)
    .map(lambda text: f"x{text}y")
)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-(10**6), 10**6), st.floats(allow_nan=False), WORDS)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3), max_leaves=6
)
PARTS = st.lists(st.one_of(WORDS, st.builds(lambda text: {"type": "text", "text": text}, WORDS), JSON), max_size=3)
CONTENTS = st.one_of(WORDS, WORDS, WORDS, PARTS, JSON, st.just(""), st.just("\ud800"))
CALLS = st.lists(
    st.builds(
        lambda name, arguments, flat: (
            {"name": name, "arguments": arguments}
            if flat
            else {"type": "function", "function": {"name": name, "arguments": arguments}}
        ),
        WORDS,
        st.one_of(st.dictionaries(WORDS, JSON, max_size=2), JSON.map(json.dumps), JSON),
        st.booleans(),
    ),
    max_size=2,
)
MESSAGES = st.lists(
    st.one_of(
        st.builds(
            lambda role_key, role, key, content, more: {role_key: role, key: content, **more},
            st.sampled_from(["role", "role", "from"]),
            st.sampled_from(ROLES),
            st.sampled_from(["content", "content", "value", "text", "prompt", "words"]),
            CONTENTS,
            st.one_of(st.just({}), st.fixed_dictionaries({"tool_calls": CALLS})),
        ),
        JSON,
    ),
    max_size=5,
)
COLUMNS = st.dictionaries(
    st.sampled_from(
        [
            "messages",
            "conversations",
            "prompt",
            "completion",
            "response",
            "instruction",
            "input",
            "output",
            "text",
            "system",
            "tools",
            "history",
            "images",
            "other",
        ]
    ),
    st.one_of(MESSAGES, MESSAGES, WORDS, JSON, MESSAGES.map(lambda value: json.dumps(value))),
    min_size=1,
    max_size=4,
)
USUAL = st.one_of(
    st.builds(lambda messages, system: {"messages": messages, "system": system}, MESSAGES, WORDS | st.none()),
    st.fixed_dictionaries({"prompt": CONTENTS, "completion": CONTENTS}),
    st.fixed_dictionaries({"instruction": CONTENTS, "input": CONTENTS, "output": CONTENTS}),
)


@cache
def shaped(shape):
    return make_tokenizer(shape and TEMPLATES[shape], eos_token="<|end|>", bos_token="<|begin|>")


def texts_of(value):
    """All texts in what a row holds, but those that only name something."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            if key not in ("role", "from", "type", "id"):
                yield from texts_of(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts_of(item)


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(row=COLUMNS | USUAL | MESSAGES, packing=st.booleans(), scored_tokens=st.sampled_from(["auto", "all"]))
def test_a_row_is_used_or_refused(shape, row, packing, scored_tokens):
    tokenizer = shaped(shape)
    options = DataOptions(num_samples=1, sequence_length=4096, packing=packing, scored_tokens=scored_tokens)
    try:
        data = prepare_data([row], options, tokenizer)
    except DataError as error:
        said = str(error)
        event("refused")
        assert any(
            each in said for each in ("row 1 of a list", "a list is empty", "no token is scored", "token id")
        ), said
        return
    event("used")
    written = "".join(tokenizer.decode(window["input_ids"]) for window in data.sequences)
    read = row if isinstance(row, list) else {key: row[key] for key in row if key in used_columns(row)}
    for text in texts_of(read):
        assert is_written(text, written), (text, written)


TURN = st.one_of(
    WORDS,
    st.integers(-999, 999),
    st.floats(-9, 9),
    st.lists(st.one_of(WORDS, st.builds(lambda text: {"type": "text", "text": text}, WORDS)), min_size=1, max_size=3),
)
ARGUMENTS = st.dictionaries(
    WORDS, st.one_of(WORDS, st.integers(0, 9), st.none(), st.lists(WORDS, max_size=2)), max_size=3
)


@st.composite
def common_rows(draw):
    """Conversations with tools, systems and history in the ways of the common data sets."""
    role_key, key = draw(
        st.sampled_from([("role", "content"), ("from", "value"), ("role", "text"), ("role", "prompt")])
    )
    user, assistant, tool = draw(
        st.sampled_from(
            [("user", "assistant", "tool"), ("human", "gpt", "observation"), ("user", "model", "function")]
        )
    )
    messages = []
    for _ in range(draw(st.integers(1, 3))):
        messages.append({role_key: user, key: draw(TURN)})
        if draw(st.booleans()):
            call = {"name": draw(WORDS), "arguments": draw(ARGUMENTS)}
            kind = draw(st.sampled_from(["calls", "text", "role"]))
            if kind == "role":
                messages.append({role_key: "function_call", key: json.dumps(call)})
            else:
                call["arguments"] = json.dumps(call["arguments"]) if kind == "text" else call["arguments"]
                about = {"type": "function", "function": call}
                messages.append({role_key: assistant, key: draw(st.none() | WORDS), "tool_calls": [about]})
            messages.append({role_key: tool, key: draw(st.one_of(WORDS, ARGUMENTS, st.lists(ARGUMENTS, min_size=1)))})
        messages.append({role_key: assistant, key: draw(TURN)})
    row = {draw(st.sampled_from(["messages", "conversations"])): messages}
    if draw(st.booleans()):
        row["system"] = draw(WORDS)
    if draw(st.booleans()):
        row["history"] = draw(st.lists(st.tuples(WORDS, WORDS).map(list), max_size=2))
    if draw(st.booleans()):
        tools = [{"name": draw(WORDS), "description": draw(WORDS), "parameters": draw(ARGUMENTS)}]
        row["tools"] = draw(st.sampled_from([tools, json.dumps(tools)]))
    return row


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(row=common_rows())
def test_a_row_of_a_common_kind_is_used(shape, row):
    tokenizer, options = shaped(shape), DataOptions(num_samples=1, sequence_length=4096, packing=False)
    data = prepare_data([row], options, tokenizer)
    written = tokenizer.decode(data.sequences[0]["input_ids"])
    for text in texts_of(row):
        assert is_written(text, written), (text, written)
    (turns,) = (value for key, value in row.items() if key in ("messages", "conversations"))
    scored = tokenizer.decode([token for token in data.sequences[0]["labels"] if token != -100])
    for turn in turns:
        is_answer = turn.get("role", turn.get("from")) in ("assistant", "gpt", "model", "function_call")
        for text in texts_of(turn):
            assert not is_answer or is_written(text, scored), (text, scored)


def used_columns(row):
    """Columns that one layout reads; the others are named in a warning."""
    from optimum_evoesap.data.layouts import columns_read

    return columns_read(row)


def is_written(text, written):
    """As it is, without the white space around it, or as JSON writes it; or each of its texts, where it is JSON."""
    forms = (text.strip(), json.dumps(text, ensure_ascii=False)[1:-1], json.dumps(text)[1:-1])
    if any(form in written for form in forms):
        return True
    try:
        inner = json.loads(text)
    except ValueError:
        return False
    return inner != text and all(is_written(each, written) for each in texts_of(inner))
