# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The columns that rows may have."""

from __future__ import annotations

import pytest

from optimum_evoesap.data.layouts import LAYOUTS, read_document, register_layout
from tests.data.texts import decoded, single


QUESTION_AND_ANSWER = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]


@pytest.mark.parametrize(
    ("row", "columns", "expected"),
    [
        ({"messages": QUESTION_AND_ANSWER, "prompt": "q", "id": 3}, None, QUESTION_AND_ANSWER),
        ({"messages": [{**item, "tool_calls": None} for item in QUESTION_AND_ANSWER]}, None, QUESTION_AND_ANSWER),
        (
            {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
            None,
            QUESTION_AND_ANSWER,
        ),
        ({"prompt": "q", "completion": "a"}, None, QUESTION_AND_ANSWER),
        ({"prompt": QUESTION_AND_ANSWER[:1], "completion": QUESTION_AND_ANSWER[1:]}, None, QUESTION_AND_ANSWER),
        ({"prompt": "q", "response": "a"}, None, QUESTION_AND_ANSWER),
        ({"instruction": "q", "output": "a"}, None, QUESTION_AND_ANSWER),
        ({"instruction": "q", "input": "", "output": "a"}, None, QUESTION_AND_ANSWER),
        (
            {"instruction": "q", "input": "i", "output": "a"},
            None,
            [{"role": "user", "content": "q\n\ni"}, {"role": "assistant", "content": "a"}],
        ),
        ({"text": "plain", "url": "u"}, None, "plain"),
        ({"body": "plain", "messages": []}, {"text": "body"}, "plain"),
        ({"q": "q", "a": "a", "text": "no"}, {"prompt": "q", "response": "a"}, QUESTION_AND_ANSWER),
        ({"prompt": "q", "a": "a"}, {"completion": "a"}, QUESTION_AND_ANSWER),
        ({"dialogue": QUESTION_AND_ANSWER}, {"messages": "dialogue"}, QUESTION_AND_ANSWER),
        ({"text": "  \n"}, None, None),
        ({"text": None}, None, None),
        ({"messages": []}, None, None),
        ({"prompt": "q", "completion": " "}, None, QUESTION_AND_ANSWER[:1]),
        ({"prompt": "", "completion": "a"}, None, [{"role": "user", "content": ""}, QUESTION_AND_ANSWER[1]]),
        ({"prompt": "", "completion": " "}, None, None),
        ({"prompt": "q", "response": 4}, None, [QUESTION_AND_ANSWER[0], {"role": "assistant", "content": "4"}]),
        ({"messages": None, "text": "plain"}, None, "plain"),
        ({"prompt": None, "completion": None, "instruction": "q", "output": "a"}, None, QUESTION_AND_ANSWER),
    ],
)
def test_layouts(row, columns, expected):
    assert read_document(row, columns) == expected


@pytest.mark.parametrize(
    ("row", "columns", "message"),
    [
        ({"body": "x", "url": "u"}, None, "has the columns 'body', 'url'; known are: messages; .*`columns` option"),
        ({"body": "x"}, {"text": "content"}, "`columns` names 'content', but the columns are 'body'"),
        (
            {"body": "x"},
            {"txt": "body"},
            "`columns` names the role 'txt'; did you mean 'text'\\? The roles are .*'prompt', .*'text'",
        ),
        ({"body": "x"}, {"prompt": "body"}, "no known layout .*`columns={'prompt': 'body'}`"),
        ({"text": float("nan")}, None, "'text' holds float where text was expected"),
        ({"text": ["plain"]}, None, "'text' holds list where text was expected"),
        ({"text": {"en": "plain"}}, None, "'text' holds dict with the keys 'en' where text was expected"),
        ({"messages": "hello"}, None, "'messages' holds str where a list of messages was expected"),
        ({"messages": ["hello"]}, None, "holds str where a message was expected"),
        ({"messages": [{"role": "wizard", "content": ""}]}, None, "the role 'wizard'; a message has `role`"),
        ({"messages": [{"speaker": "user"}]}, None, "the keys 'speaker' and the role None"),
    ],
)
def test_rows_of_no_layout(row, columns, message, chat_tokenizer):
    with pytest.raises(ValueError, match=f"^calibration data: .*{message}"):
        single([row], chat_tokenizer, columns=columns)


def test_an_own_layout_can_be_registered(tokenizer):
    before = list(LAYOUTS)
    try:
        register_layout("haiku")(lambda row: " / ".join(row["haiku"]))
        data = single([{"haiku": ["one", "two"]}], tokenizer, num_samples=1)
    finally:
        LAYOUTS[:] = before
    assert decoded(tokenizer, data.sequences[0]) == "one / two"


def test_an_own_layout_may_give_messages_in_any_form(chat_tokenizer):
    before = list(LAYOUTS)
    try:
        register_layout("dialogue")(
            lambda row: [{"from": "human", "value": row["dialogue"]}, {"from": "gpt", "value": 4}]
        )
        assert read_document({"dialogue": "q"})[1] == {"role": "assistant", "content": "4"}
    finally:
        LAYOUTS[:] = before
