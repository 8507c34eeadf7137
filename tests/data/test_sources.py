# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Where data come from: files, folders, mixtures, the Hub and objects."""

from __future__ import annotations

import json

import datasets
import pytest

from optimum_evoesap.data import DataError, prepare_data
from optimum_evoesap.data.sources import open_source, parse_sources
from tests.data.texts import SENTENCES, decoded, options, single, write_jsonl


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
    assert data.domains == data.mixture == tuple(f"{'one' if kind == '1' else 'two'}.jsonl" for kind in kinds)


def test_the_domain_of_every_window_is_known_where_data_are_opened_by_name(tmp_path, tokenizer):
    """Files of the same name in two folders are two domains, and one file named twice is one."""
    paths = []
    for folder in ("math", "code"):
        (tmp_path / folder).mkdir()
        paths.append(write_jsonl(tmp_path / folder / "train.jsonl", [{"text": folder}] * 8))
    mixed = single(f"{paths[0]}:2,{paths[1]}:2", tokenizer)
    names = {"math": "train.jsonl (1)", "code": "train.jsonl (2)"}
    assert mixed.domains == tuple(names[decoded(tokenizer, each)] for each in mixed.sequences)
    assert single(f"{paths[0]}:2,{paths[0]}:2", tokenizer).domains == ("train.jsonl",) * 4
    one = single(paths[0], tokenizer, num_samples=2)
    assert one.domains == ("train.jsonl",) * 2 and one.mixture == ()
    assert single(["a text"], tokenizer).domains is None


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


def test_a_damaged_parquet_file_is_named(tmp_path):
    path = tmp_path / "rows.parquet"
    datasets.Dataset.from_list([{"text": "words of a row"}] * 20).to_parquet(path)
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], content[:-40] + b"\xff" * 32 + content[-8:], b"PAR1"):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="rows.parquet"):
            list(open_source(parse_sources(str(path), options())[0], options()))
