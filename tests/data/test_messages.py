# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Messages in the forms of data sets of chats and of agents."""

from __future__ import annotations

import json

import datasets
import pytest

from optimum_evoesap.data import DataError
from optimum_evoesap.data.layouts import read_document
from optimum_evoesap.data.messages import OTHER_ROLES, read_messages
from tests.data.chat_templates import QWEN3
from tests.data.texts import ROLE_CHECKING, decoded, make_tokenizer, options, prepare_data, single, write_jsonl


ASKED, ANSWERED = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
CALL = {"name": "look", "arguments": {"at": "it", "unit": None}}
CALLED = {"type": "function", "function": CALL}
# A call for a template that cannot do with JSON text, and one that can do with nothing else.
AS_DICT = (
    "{% for m in messages %}{{ m.role }}: {{ m.content or '' }}{% for c in m.tool_calls or [] %}{{ c.function.name }}"
    "{% for k, v in c.function.arguments.items() %} {{ k }}={{ v }}{% endfor %}{% endfor %}\n{% endfor %}"
)
AS_TEXT = AS_DICT.replace(
    "{% for k, v in c.function.arguments.items() %} {{ k }}={{ v }}{% endfor %}", "{{ ' ' + c.function.arguments }}"
)
AS_WRITTEN = AS_DICT.replace(
    "{% for k, v in c.function.arguments.items() %} {{ k }}={{ v }}{% endfor %}", " {{ c.function.arguments }}"
)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"role": "user", "value": "q"}, ASKED),
        ({"from": "human", "text": "q"}, ASKED),
        ({"role": "User ", "prompt": "q", "content": ""}, ASKED),
        ({"role": "user", "content": 4}, {"role": "user", "content": "4"}),
        ({"role": "user", "content": True}, {"role": "user", "content": "true"}),
        ({"role": "user", "content": ["q", 5, None]}, {"role": "user", "content": [
            {"type": "text", "text": "q"}, {"type": "text", "text": "5"}]}),
        ({"role": "user", "content": {"type": "input_text", "text": "q"}},
         {"role": "user", "content": [{"type": "text", "text": "q"}]}),
        ({"role": "observation", "content": {"found": [1, "é"]}}, {"role": "tool", "content": '{"found": [1, "é"]}'}),
        ({"role": "tool", "content": [{"found": 1}]}, {"role": "tool", "content": '[{"found": 1}]'}),
        ({"from": "function_call", "value": json.dumps(CALL)},
         {"role": "assistant", "content": "", "tool_calls": [CALLED]}),
        ({"from": "function_call", "value": "look at it"}, {"role": "assistant", "content": "look at it"}),
        ({"role": "assistant", "function_call": CALL}, {"role": "assistant", "content": None, "tool_calls": [CALLED]}),
        ({"role": "assistant", "content": "", "tool_calls": json.dumps([CALL])},
         {"role": "assistant", "content": "", "tool_calls": [CALLED]}),
        ({"role": "assistant", "content": None, "tool_calls": None}, {"role": "assistant", "content": ""}),
    ],
)  # fmt: skip
def test_messages(message, expected):
    assert read_messages([message], "messages") == [expected]
    assert read_messages(json.dumps([message]), "messages") == [expected]


def test_messages_may_stand_in_lists_by_key():
    value = {"role": ["user", "assistant"], "content": ["q", "a"], "other": None}
    assert read_messages(value, "messages") == [ASKED, ANSWERED]


@pytest.mark.parametrize(("role", "usual"), OTHER_ROLES.items())
def test_roles(role, usual):
    assert read_messages([{"role": role, "content": "x"}], "messages")[0]["role"] == usual


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"role": "user", "words": "q"}, "message 2 has the keys 'role', 'words' and no content"),
        ({"role": "assistant", "words": "a", "tool_calls": [CALLED]}, "and no content"),
        ({"role": "assistant", "words": [{"said": "a"}], "tool_calls": [CALLED]}, "and no content"),
        ({"role": "user", "content": "q", "value": "other"}, "message 2 has content under 'content', 'value'"),
        ({"role": "user", "from": "gpt", "content": "q"}, "the role 'user'"),
        ({"role": "user", "content": {"q": 1}}, "message 2, 'content' holds dict with the keys 'q'"),
        ({"role": "user", "content": [{"q": 1}]}, "message 2, 'content', part 1 has the keys 'q'"),
        ({"role": "assistant", "tool_calls": [3]}, "message 2, 'tool_calls' holds list where calls were expected"),
        ({"role": "assistant", "tool_calls": "look"}, "message 2, 'tool_calls' holds"),
        (["q", "a"], "message 2 holds list where a message was expected"),
    ],
)
def test_messages_that_are_not_understood_are_named(message, said):
    with pytest.raises(DataError, match=f"^column 'messages', {said}|^column 'messages', message 2 .*{said}"):
        read_messages([ASKED, message], "messages")


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"system": "s"}, [{"role": "system", "content": "s"}, ASKED, ANSWERED]),
        ({"system_prompt": "s", "system": None}, [{"role": "system", "content": "s"}, ASKED, ANSWERED]),
        ({"history": [["q0", "a0"]]}, [{**ASKED, "content": "q0"}, {**ANSWERED, "content": "a0"}, ASKED, ANSWERED]),
        ({"history": [{"from": "gpt", "value": "a0"}]}, [{**ANSWERED, "content": "a0"}, ASKED, ANSWERED]),
        ({"history": "[]", "tools": "[]", "system": ""}, [ASKED, ANSWERED]),
    ],
)
def test_columns_beside_the_turns(columns, expected):
    for turns in (
        {"messages": [ASKED, ANSWERED]},
        {"prompt": "q", "completion": "a"},
        {"instruction": "q", "output": "a"},
    ):
        assert read_document({**turns, **columns}) == expected


def test_a_system_in_both_places_is_said_once():
    system = {"role": "system", "content": "Be brief."}
    assert read_document({"messages": [system, ASKED], "system": "Be brief."}) == [system, ASKED]
    both = read_document({"messages": [system, ASKED], "system": "Be kind."})
    assert both[0]["content"] == "Be kind.\n\nBe brief."


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"tools": "some words"}, "column 'tools' holds str where a list of tools"),
        ({"tools": [{"parameters": {}}]}, "column 'tools' holds the description of a tool without a name"),
        ({"history": "some words"}, "column 'history' holds text where earlier turns"),
        ({"history": [["a", "b", "c"]]}, "column 'history', turn 1 has 3 texts"),
        ({"system": ["s"]}, "column 'system' holds list"),
    ],
)
def test_columns_beside_the_turns_that_are_not_understood(columns, said):
    with pytest.raises(DataError, match=said):
        read_document({"messages": [ASKED, ANSWERED], **columns})


def chat_with(arguments):
    return [
        ASKED,
        {"role": "assistant", "tool_calls": [{"function": {"name": "look", "arguments": arguments}}]},
        ANSWERED,
    ]


@pytest.mark.parametrize("given", [{"at": "it", "times": 2}, '{"at": "it", "times": 2}'])
@pytest.mark.parametrize(
    ("template", "written"),
    [
        (AS_DICT, "look at=it times=2"),
        (AS_TEXT, 'look {"at": "it", "times": 2}'),
        (AS_WRITTEN, 'look {"at": "it", "times": 2}'),
        (QWEN3, '{"name": "look", "arguments": {"at": "it", "times": 2}}'),
        (
            "{% for m in messages %}{{ m.content }}\n{% endfor %}",
            '{"name": "look", "arguments": {"at": "it", "times": 2}}',
        ),
        (None, '{"name": "look", "arguments": {"at": "it", "times": 2}}'),
    ],
)
def test_arguments_are_given_as_the_template_wants_them(template, given, written):
    tokenizer = make_tokenizer(template)
    data = single([chat_with(given)], tokenizer, num_samples=1)
    text = decoded(tokenizer, data.sequences[0])
    assert written in text and "'at'" not in text


def test_keys_of_other_rows_are_absent_and_real_nulls_stay(tmp_path):
    tokenizer = make_tokenizer(AS_DICT)
    rows = [{"messages": chat_with({"city": "Rome", "unit": None})}, {"messages": chat_with({"x": 1})}]

    def texts(data):
        return sorted(decoded(tokenizer, item) for item in single(data, tokenizer, num_samples=2).sequences)

    exact = texts(rows)
    assert [text.split("look")[1].split("assistant")[0] for text in exact] == [" city=Rome unit=None", " x=1"]
    assert texts(write_jsonl(tmp_path / "rows.jsonl", rows)) == exact
    strings = [
        {"messages": chat_with(json.dumps(row["messages"][1]["tool_calls"][0]["function"]["arguments"]))}
        for row in rows
    ]
    assert texts(strings) == texts(datasets.Dataset.from_list(strings)) == exact
    in_json = datasets.Dataset.from_list([*rows, {"messages": chat_with("{}")}], on_mixed_types="use_json")
    assert texts(in_json.select(range(2))) == exact
    without = [text.replace(" unit=None", "") for text in exact]
    dataset = datasets.Dataset.from_list(rows)
    dataset.to_parquet(tmp_path / "rows.parquet")
    for data in (dataset, dataset.to_iterable_dataset(), str(tmp_path / "rows.parquet"), {"train": dataset}):
        assert texts(data) == without


def test_unusable_rows_are_named_or_left_out_and_counted(tmp_path, caplog):
    tokenizer = make_tokenizer(ROLE_CHECKING)
    good, bad = {"messages": [ASKED, ANSWERED]}, {"messages": [{"role": "system", "content": "s"}, ASKED, ANSWERED]}
    rows = [good, bad, good, {"messages": [{"role": "wizard", "content": "x"}]}, good]
    with pytest.raises(
        DataError, match="^calibration data: row 2 of a list: .* refuses a conversation of system, user"
    ):
        single(rows, tokenizer)
    path = write_jsonl(tmp_path / "rows.jsonl", [good, good, bad])
    with pytest.raises(DataError, match="row 3 of rows.jsonl: "):
        single(path, tokenizer)
    datasets.Dataset.from_list([good, good, good, bad]).to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(DataError, match="row 4 of rows.parquet: "):
        single(str(tmp_path / "rows.parquet"), tokenizer)
    data = single(rows, tokenizer, num_samples=3, skip_unusable_rows=True)
    assert len(data) == 3 and "2 rows of a list cannot be used; the first: row 2 of a list: " in caplog.text
    with pytest.raises(DataError, match="1000 rows|row 1000 of a generator: "):
        single((bad for _ in iter(int, 1)), tokenizer, skip_unusable_rows=True)


def test_what_nothing_reads_is_named(caplog):
    tokenizer = make_tokenizer(AS_DICT)
    rows = [
        {"messages": [{**ASKED, "note": "some words"}, ANSWERED], "summary": "more words", "id": "one-word", "n": 3}
    ]
    single(rows, tokenizer, num_samples=1)
    assert "in a list nothing reads 'note', 'summary'" in caplog.text


def test_too_little_text_is_said(caplog):
    tokenizer = make_tokenizer()
    prepare_data(["One short line."], options(num_samples=1, sequence_length=64), tokenizer)
    assert "a list holds no more than" in caplog.text and "thousand tokens" in caplog.text


@pytest.mark.parametrize("library", ["pandas"])
def test_tables_of_other_libraries_are_refused_by_name(library):
    pandas = pytest.importorskip(library)
    with pytest.raises(DataError, match="a DataFrame of pandas is not a kind of data"):
        prepare_data(pandas.DataFrame({"text": ["a b"]}), options(), make_tokenizer())
