# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""From text, conversations and tokens to windows: what is read, what is scored, what is refused."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys

import datasets
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import OlmoeConfig, OlmoeForCausalLM, PreTrainedTokenizerFast

from optimum_evoesap.data import DataError, DataOptions, TokenizedData, prepare_data
from optimum_evoesap.data.encoding import EncodedDocument, encode_document
from optimum_evoesap.data.layouts import LAYOUTS, read_document, register_layout
from optimum_evoesap.data.sources import parse_sources
from optimum_evoesap.data.windows import packed_windows


HEADER = "{% for m in messages %}{{ '<|' + m.role + '|>\n' }}"
PROMPT = "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
PLAIN = HEADER + "{{ m.content + eos_token + '\n' }}" + PROMPT
MARKED = (
    HEADER + "{% if m.role == 'assistant' %}{% generation %}{{ m.content + eos_token }}{% endgeneration %}"
    "{% else %}{{ m.content + eos_token }}{% endif %}{{ '\n' }}" + PROMPT
)
# Like the reasoning models: only the last turn keeps an (empty) reasoning block.
REASONING = (
    HEADER + "{% if m.role == 'assistant' and loop.last %}{{ '<think></think>\n' }}{% endif %}"
    "{{ m.content + eos_token + '\n' }}" + PROMPT
)
# What came before a turn changes with what follows it: no turn can be told apart.
REWRITING = "{{ messages | length }}" + PLAIN
REMINDING = HEADER + "{{ m.content }}{{ ' Now answer.' if loop.last and m.role == 'user' }}{{ '\n' }}" + PROMPT
FORGETTING = HEADER + "{{ m.content if loop.last or m.role == 'user' else '' }}{{ '\n' }}" + PROMPT
ROLE_CHECKING = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + PLAIN

SENTENCES = [
    f"The {name} expert routes token {i} to the layer." for i, name in enumerate(["first", "second", "third"])
]
CHAT = [
    {"role": "user", "content": "What is two plus two?"},
    {"role": "assistant", "content": "  It is four."},
    {"role": "user", "content": "And three?"},
    {"role": "assistant", "content": "Five, naïvely."},
]


def make_tokenizer(chat_template=None, **special_tokens):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|end|>", "<|user|>", "<|assistant|>", "<|system|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*SENTENCES, *(message["content"] for message in CHAT)], trainer)
    special_tokens = special_tokens or {"eos_token": "<|end|>"}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special_tokens)
    fast.chat_template = chat_template
    return fast


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


@pytest.fixture(scope="module")
def chat_tokenizer():
    return make_tokenizer(PLAIN)


def options(num_samples=4, sequence_length=16, **changes):
    return DataOptions(num_samples, sequence_length, **changes)


def decoded(tokenizer, sequence):
    return tokenizer.decode(sequence["input_ids"])


def scored_text(tokenizer, data):
    return [tokenizer.decode(item["labels"][item["labels"] != -100]) for item in data.sequences]


def single(data, tokenizer, **changes):
    return prepare_data(data, options(sequence_length=256, packing=False, **changes), tokenizer)


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


# Sources


@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet", "txt"])
def test_local_files_hold_the_same_documents(kind, tmp_path, tokenizer):
    path = tmp_path / f"corpus [1].{kind}"
    rows = [{"text": sentence} for sentence in SENTENCES]
    if kind == "jsonl":
        write_jsonl(path, rows)
    elif kind == "json":
        path.write_text(json.dumps(rows))
    elif kind == "parquet":
        datasets.Dataset.from_list(rows).to_parquet(path)
    else:
        path.write_text("\n\n".join(SENTENCES) + "\n  \n")
    data = single(str(path), tokenizer, num_samples=3)
    assert sorted(decoded(tokenizer, item) for item in data.sequences) == sorted(SENTENCES)
    assert single(path, tokenizer, num_samples=3).fingerprint == data.fingerprint
    assert data.description == f"corpus [1].{kind}, 3 windows of up to 256 tokens"


def test_folder_reads_the_named_split(tmp_path, tokenizer):
    write_jsonl(tmp_path / "train.jsonl", [{"text": "for training"}])
    write_jsonl(tmp_path / "test.jsonl", [{"text": "for testing"}])
    data = single(str(tmp_path), tokenizer, num_samples=1, split="test")
    assert decoded(tokenizer, data.sequences[0]) == "for testing"
    with pytest.raises(DataError, match="cannot be opened.*Bad split: other"):
        single(str(tmp_path), tokenizer, split="other")


def test_shuffle_follows_the_seed(tmp_path, tokenizer):
    path = write_jsonl(tmp_path / "a.jsonl", [{"text": f"row {i}"} for i in range(50)])
    one, same, other = (single(path, tokenizer, num_samples=50, seed=seed) for seed in (1, 1, 2))
    assert one.fingerprint == same.fingerprint != other.fingerprint
    texts = [decoded(tokenizer, item) for item in one.sequences]
    assert texts != sorted(texts) and set(texts) == {f"row {i}" for i in range(50)}


@pytest.mark.parametrize(
    ("text", "changes", "expected"),
    [
        ("allenai/c4", {}, [("allenai/c4", 7, None)]),
        ("allenai/c4:3", {}, [("allenai/c4", 3, None)]),
        ("allenai/c4", {"revision": "abc"}, [("allenai/c4", 7, "abc")]),
        ("a/b@refs/pr/1:2, c:1", {}, [("a/b", 2, "refs/pr/1"), ("c", 1, None)]),
        ("a,b,c", {}, [("a", 3, None), ("b", 2, None), ("c", 2, None)]),
        ("a:4,b,c", {}, [("a", 4, None), ("b", 2, None), ("c", 1, None)]),
    ],
)
def test_mixture_syntax(text, changes, expected):
    sources = parse_sources(text, options(num_samples=7, **changes))
    assert [(source.name, source.num_samples, source.revision) for source in sources] == expected


@pytest.mark.parametrize("file_name", ["a:12", "a,b.jsonl", "a@1.jsonl"])
def test_an_existing_path_is_never_cut(file_name, tmp_path):
    path = tmp_path / file_name
    path.touch()
    (source,) = parse_sources(str(path), options())
    assert (source.name, source.num_samples, source.revision) == (str(path), 4, None)
    (counted,) = parse_sources(f"{path}:9", options())
    assert (counted.name, counted.num_samples) == (str(path), 9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a:2,,b:2", "'' in 'a:2,,b:2' is neither"),
        ("a:two", "'a:two' in 'a:two' is neither"),
        ("a:0,b:2", "asks for 0 samples"),
        ("a:4,b", "leaves 0 of 4 samples for 1 names"),
        ("a,b,c,d,e", "leaves 4 of 4 samples for 5 names"),
        ("A sentence. Not a name.", "list of strings"),
        ("/no/such/corpus", "the path '/no/such/corpus' does not exist"),
        ("missing.jsonl:3", "the path 'missing.jsonl' does not exist"),
        ("some/deep/folder", "the path 'some/deep/folder' does not exist"),
        ("C:\\data\\corpus", "does not exist"),
    ],
)
def test_names_that_cannot_be_read(text, message, tokenizer):
    with pytest.raises(ValueError, match=f"^search data: .*{message}".replace("\\", "\\\\").replace("C:\\\\d", ".*d")):
        prepare_data(text, options(), tokenizer, name="search data")


def test_revision_of_a_mixture_must_be_written_after_the_names():
    with pytest.raises(DataError, match="name@revision"):
        parse_sources("a,b", options(revision="main"))


def test_unknown_kind_of_file(tmp_path, tokenizer):
    (tmp_path / "a.docx").touch()
    with pytest.raises(DataError, match=r"a\.docx' is of an unknown kind; known are \.json"):
        single(str(tmp_path / "a.docx"), tokenizer)


def test_mixture_takes_the_counts_and_spreads_the_parts(tmp_path, tokenizer):
    one = write_jsonl(tmp_path / "one.jsonl", [{"text": "one"}] * 20)
    two = write_jsonl(tmp_path / "two.jsonl", [{"instruction": "two", "output": "answer"}] * 20)
    data = single(f"{one}:6,{two}:2", tokenizer, num_samples=100)
    kinds = "".join("1" if decoded(tokenizer, item) == "one" else "2" for item in data.sequences)
    assert kinds == "11211121"
    assert data.description == "one.jsonl (6) + two.jsonl (2), 8 windows of up to 256 tokens"


@pytest.mark.parametrize(
    ("name", "changes", "config_name", "revision"),
    [
        ("allenai/c4", {}, "en", None),
        ("allenai/c4", {"config_name": "de"}, "de", None),
        ("Salesforce/wikitext@v1", {}, "wikitext-103-raw-v1", "v1"),
        ("theblackcat102/evol-codealpaca-v1", {"revision": "0123abc"}, None, "0123abc"),
    ],
)
def test_hub_names_stream_their_configuration_and_revision(
    name, changes, config_name, revision, monkeypatch, tokenizer
):
    calls = []

    def load_dataset(path, **arguments):
        calls.append((path, arguments))
        return datasets.Dataset.from_list([{"text": "of the Hub"}, {"text": ""}]).to_iterable_dataset()

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    data = single(f"{name}:1", tokenizer, **changes)
    assert decoded(tokenizer, data.sequences[0]) == "of the Hub"
    expected = {"name": config_name, "split": "train", "revision": revision, "streaming": True}
    assert calls == [(name.partition("@")[0], expected)]
    label = f"{name.partition('@')[0]}@{revision}" if revision else name
    assert data.description == f"{label}, 1 window of up to 256 tokens"


def test_objects_keep_their_order(tokenizer):
    texts = [f"row {i}" for i in range(20)]
    dataset = datasets.Dataset.from_dict({"text": texts})
    given = [
        texts,
        iter(texts),
        dataset,
        dataset.to_iterable_dataset(),
        datasets.DatasetDict({"train": dataset}),
        datasets.IterableDatasetDict({"train": dataset.to_iterable_dataset()}),
    ]
    for data in given:
        result = single(data, tokenizer, num_samples=20)
        assert [decoded(tokenizer, item) for item in result.sequences] == texts


# Layouts


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
        ({"prompt": "q", "completion": " "}, None, None),
    ],
)
def test_layouts(row, columns, expected):
    assert read_document(row, columns) == expected


@pytest.mark.parametrize(
    ("row", "columns", "message"),
    [
        ({"body": "x", "url": "u"}, None, "has the columns 'body', 'url'; known are: messages; .*`columns` option"),
        ({"body": "x"}, {"text": "content"}, "`columns` names 'content', but the columns are 'body'"),
        ({"body": "x"}, {"txt": "body"}, "`columns` names the role 'txt'; the roles are .*'prompt', .*'text'"),
        ({"body": "x"}, {"prompt": "body"}, "no known layout .*`columns={'prompt': 'body'}`"),
        ({"text": 3}, None, "'text' holds int where text was expected"),
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


# What is scored


@pytest.mark.parametrize("template", [PLAIN, MARKED, REASONING])
def test_exactly_the_answers_are_scored(template):
    tokenizer = make_tokenizer(template)
    data = single([CHAT, CHAT[:2]], tokenizer, num_samples=2)
    last = "<think></think>\n" if template == REASONING else ""
    assert scored_text(tokenizer, data) == [
        f"  It is four.<|end|>{last}Five, naïvely.<|end|>",
        f"{last}  It is four.<|end|>",
    ]
    assert decoded(tokenizer, data.sequences[0]) == tokenizer.apply_chat_template(CHAT, tokenize=False)


def test_both_ways_to_find_the_answers_agree():
    marked, plain = make_tokenizer(MARKED), make_tokenizer(PLAIN)
    chats = [CHAT, CHAT[:2], [{"role": "system", "content": "Be brief."}, *CHAT], [*CHAT, *CHAT]]
    assert single(chats, marked).fingerprint == single(chats, plain).fingerprint
    assert marked.apply_chat_template(CHAT, tokenize=False) == plain.apply_chat_template(CHAT, tokenize=False)


def test_the_marks_of_a_template_decide():
    content_only = MARKED.replace(
        "m.content + eos_token }}{% endgeneration %}", "m.content }}{% endgeneration %}<|end|>"
    )
    tokenizer = make_tokenizer(content_only)
    assert scored_text(tokenizer, single([CHAT], tokenizer, num_samples=1)) == ["  It is four.Five, naïvely."]


def test_a_token_across_the_start_of_an_answer_is_scored(tokenizer):
    glued = make_tokenizer("{% for m in messages %}{{ m.content }}{% endfor %}")
    chat = [{"role": "user", "content": "the la"}, {"role": "assistant", "content": "yer to the layer"}]
    assert glued.tokenize("the layer")[-1] == "Ġlayer", "the test needs a token across the boundary"
    (text,) = scored_text(glued, single([chat], glued, num_samples=1))
    assert text == " layer to the layer"


def test_a_greeting_before_any_question_is_not_an_answer(chat_tokenizer):
    data = single([[{"role": "assistant", "content": "Hello!"}, *CHAT[:2]]], chat_tokenizer, num_samples=1)
    assert scored_text(chat_tokenizer, data) == ["  It is four.<|end|>"]


def test_an_answer_without_text_is_scored_to_its_end(chat_tokenizer):
    chat = [CHAT[0], {"role": "assistant", "content": ""}, *CHAT[2:]]
    data = single([chat], chat_tokenizer, num_samples=1)
    assert scored_text(chat_tokenizer, data) == ["<|end|>Five, naïvely.<|end|>"]


def test_without_a_template_a_conversation_becomes_lines(tokenizer):
    data = single([CHAT], tokenizer, num_samples=1)
    expected = "What is two plus two?\n  It is four.<|end|>And three?\nFive, naïvely.<|end|>"
    assert decoded(tokenizer, data.sequences[0]) == expected
    assert scored_text(tokenizer, data) == ["  It is four.<|end|>Five, naïvely.<|end|>"]


def test_without_a_template_content_must_be_text(tokenizer):
    with pytest.raises(DataError, match="holds list where text was expected, and the tokenizer has no chat template"):
        single([[{"role": "user", "content": [{"type": "text", "text": "q"}]}, CHAT[1]]], tokenizer)


def test_scored_tokens_all_scores_every_token_but_the_first(chat_tokenizer):
    for template in (PLAIN, MARKED, REWRITING):
        tokenizer = make_tokenizer(template)
        sequence = single([CHAT], tokenizer, num_samples=1, scored_tokens="all").sequences[0]
        assert sequence["labels"][0] == -100
        assert torch.equal(sequence["labels"][1:], sequence["input_ids"][1:])


def test_auto_scores_all_of_a_text_and_the_answers_of_a_conversation(chat_tokenizer):
    data = single([SENTENCES[0], CHAT[:2]], chat_tokenizer, num_samples=2)
    first_token = chat_tokenizer.tokenize(SENTENCES[0])[0]
    assert scored_text(chat_tokenizer, data) == [SENTENCES[0][len(first_token) :], "  It is four.<|end|>"]


def test_text_has_no_answers(tokenizer):
    with pytest.raises(DataError, match="plain text has no answers"):
        single(SENTENCES, tokenizer, scored_tokens="answers")


@pytest.mark.parametrize("template", [REWRITING, REMINDING, FORGETTING])
def test_a_template_that_hides_the_answers_is_an_error(template):
    with pytest.raises(DataError, match="renders turn 2 of a conversation of 4 differently"):
        single([CHAT], make_tokenizer(template))


def test_a_conversation_that_the_template_refuses_is_named():
    chat = [{"role": "system", "content": "Be brief."}, *CHAT[:2]]
    with pytest.raises(DataError, match="refuses a conversation of system, user.*no system role"):
        single([chat], make_tokenizer(ROLE_CHECKING))


def test_special_tokens_that_the_tokenizer_adds_stay():
    from tokenizers.processors import TemplateProcessing

    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        "<|system|> $A", special_tokens=[("<|system|>", 3)]
    )
    texts = single([SENTENCES[0], CHAT[:2]], tokenizer, num_samples=2)
    assert [int(item["input_ids"][0]) for item in texts.sequences] == [3, 3]
    assert scored_text(tokenizer, texts) == [SENTENCES[0], "  It is four.<|end|>"]


# Windows


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


# Tokens given


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


def test_only_some_with_position_ids_is_an_error():
    with pytest.raises(DataError, match="only some of the sequences have `position_ids`"):
        prepare_data([{"input_ids": [1, 2], "position_ids": [0, 1]}, {"input_ids": [1, 2]}], options())


# The data as a whole


@pytest.mark.parametrize("data", [[], [""], [" \n", {"text": None}], {"train": []}])
def test_empty_data(data, tokenizer):
    with pytest.raises(ValueError, match="^search data: a (list|dict) is empty"):
        prepare_data(data, options(), tokenizer, name="search data")


@pytest.mark.parametrize(("file_name", "content"), [("a.txt", "\n \n"), ("a.jsonl", ""), ("a.json", "[]")])
def test_empty_file(file_name, content, tmp_path, tokenizer):
    (tmp_path / file_name).write_text(content)
    with pytest.raises(DataError, match=f"{file_name} is empty"):
        single(str(tmp_path / file_name), tokenizer)


@pytest.mark.parametrize(
    ("file_name", "end"), [("a.jsonl", '{"text": "x"\n'), ("a.json", '{"text": }'), ("a.txt", None)]
)
def test_malformed_file(file_name, end, tmp_path, tokenizer):
    """The error names the file and the kind of data, of which a run has two."""
    good = '{"text": "some words"}\n' if end else "some words\n"
    (tmp_path / file_name).write_bytes((3 * good).encode() + (end.encode() if end else b"\xff\xfe\xff\n"))
    with pytest.raises(DataError, match=f"^search data: {file_name} cannot be read: "):
        prepare_data(str(tmp_path / file_name), options(num_samples=50), tokenizer, name="search data")


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


def test_no_answer_is_scored(chat_tokenizer):
    with pytest.raises(DataError, match="no token is scored in a list, 1 window of up to 256 tokens"):
        single([CHAT[:1]], chat_tokenizer, num_samples=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_samples": 0}, "`num_samples` is 0"),
        ({"sequence_length": 1}, "`sequence_length` is 1: .* at least 2"),
        ({"scored_tokens": "some"}, "`scored_tokens` is 'some': choose one of auto, all, answers"),
    ],
)
def test_options_that_no_data_satisfy(changes, message):
    with pytest.raises(ValueError, match=message):
        options(**changes)


def test_vocabulary_of_another_tokenizer(tokenizer):
    highest = max(token for text in SENTENCES for token in tokenizer(text)["input_ids"])
    prepare_data(SENTENCES, options(num_samples=1), tokenizer, vocab_size=highest + 1)
    with pytest.raises(DataError, match=f"token id {highest} does not fit the model's vocabulary of {highest}"):
        prepare_data(SENTENCES, options(sequence_length=64), tokenizer, vocab_size=highest)


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


def test_encoding_an_empty_text_gives_nothing(tokenizer):
    assert encode_document("", tokenizer, "auto") == EncodedDocument([], [])
