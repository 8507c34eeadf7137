# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""JSON files are read by a schema, or refused with the file, the field and the value."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

import pytest

from optimum_evoesap.reading import MAX_DEPTH, FileContentError, fit, parse_json, read_json, read_limited


@dataclass
class Record:
    counts: list[int]
    kept: dict[int, list[int]]
    name: str | None = None
    more: dict[str, dict[str, float]] = field(default_factory=dict)


GOOD = {"counts": [1, 2], "kept": {"3": [0], "7": [1]}, "later": 5}


def _read(tmp_path, content: Any, **kwargs: Any) -> Record:
    path = tmp_path / "record.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return read_json(path, Record, "a record", "Write it again.", **kwargs)


def test_a_file_becomes_an_object_of_its_schema_without_fields_of_later_releases(tmp_path):
    assert _read(tmp_path, GOOD) == Record([1, 2], {3: [0], 7: [1]})
    assert _read(tmp_path, b"\xef\xbb\xbf" + json.dumps(GOOD).encode()) == Record([1, 2], {3: [0], 7: [1]})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"counts": [1, "x"]}, r"counts\[1\] is 'x' \(expected `int`, got `str`\)"),
        ({"counts": [1, 2.0]}, r"counts\[1\] is 2.0"),
        ({"counts": [True]}, r"counts\[0\] is True"),
        ({"counts": None}, "counts is None"),
        ({"kept": {"3": [0], "7": [None]}}, r"kept\[7\]\[0\] is None \(expected `int`, got `null`\)"),
        ({"kept": {"3": [0], "7": [0, None]}, "more": 5}, r"kept\[7\]\[1\] is None"),
        ({"kept": {"3": [0], "7": {"x": 1}}, "more": {"a": {"b": "x"}}}, r"kept\[7\] is \{'x': 1\}"),
        ({"kept": {"3": [0], "x": []}}, "kept has the key 'x'"),
        ({"kept": {"3": [0], "03": []}}, "kept has the key '03'"),
        ({"more": {"a": {"b": 1}, "c": {"d": 1, "e f": "x"}}}, r"more\.c\[e f\] is 'x'"),
        ({"name": 5}, r"name is 5 \(expected `str \| null`, got `int`\)"),
    ],
)
def test_the_error_names_the_file_the_field_and_the_value(tmp_path, changes, message):
    with pytest.raises(FileContentError, match=rf"record\.json is not a record: {message}.*\. Write it again\.$"):
        _read(tmp_path, GOOD | changes)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is no JSON"),
        (b"not json", "it is no JSON"),
        (b'{"counts": [1', "it is no JSON"),
        (b"\xff\xfe{}", "no text in UTF-8"),
        (b"[]", r"it is \[\] \(expected `object`, got `array`\)"),
        (b"{}", "it has no field `counts`"),
        (b'{"counts": [], "counts": [1], "kept": {}}', "it names 'counts' twice"),
        (b'{"counts": [], "kept": {}, "name": "\\ud800"}', "half a character"),
        (b'{"counts": [' + b"9" * 5000 + b'], "kept": {}}', "digits"),
        (b"[" * 900 + b"]" * 900, "nested more than 40 levels"),
        (b"[" * 500_000, "nested more than 40 levels"),
        (b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1), "nested more than 40 levels"),
    ],
)
def test_what_is_no_record_is_refused(tmp_path, content, message):
    with pytest.raises(FileContentError, match=message):
        _read(tmp_path, content)


def test_fields_that_contradict_each_other_are_refused(tmp_path):
    def check(record: Record) -> None:
        if len(record.counts) != len(record.kept):
            raise ValueError("counts has another length than kept")

    assert _read(tmp_path, GOOD, check=check).counts == [1, 2]
    with pytest.raises(FileContentError, match="is not a record: counts has another length than kept. Write it again"):
        _read(tmp_path, GOOD | {"counts": []}, check=check)


def test_values_nest_as_deep_as_is_allowed():
    assert parse_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    with pytest.raises(ValueError, match="nested"):
        parse_json(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1))


def test_no_more_is_read_than_allowed(tmp_path):
    with pytest.raises(FileContentError, match="larger than 10 bytes"):
        _read(tmp_path, GOOD, max_bytes=10)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(FileContentError, match="pipe is no file"):
            read_limited(tmp_path / "pipe")
    with pytest.raises(FileContentError, match="is no file"):
        read_limited(tmp_path)
    with pytest.raises(FileNotFoundError, match="absent"):
        read_limited(tmp_path / "absent")


def test_values_in_memory_fit_a_schema():
    assert fit({"3": [1]}, dict[int, list[int]]) == {3: [1]}
    with pytest.raises(ValueError, match=r"^\[4\]\[0\] is 'x'"):
        fit({"3": [1], "4": ["x"]}, dict[int, list[int]])


def test_the_package_is_imported_without_it():
    code = "import sys, optimum_evoesap; sys.exit('msgspec' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
