# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Rows of JSON files, as they are."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma

import pytest

from optimum_evoesap.data import DataError
from optimum_evoesap.data.json_files import is_json_file, read_json_file


ROWS = [{"messages": [{"arguments": {"x": None}}]}, {"messages": "text", "date": "2020-01-01"}, ["a", None], "text"]
OPENERS = {"": open, ".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("\n".join(map(json.dumps, ROWS)), [1, 2, 3, 4]),
        ("\ufeff" + "\n\n".join(map(json.dumps, ROWS)) + "\n", [1, 3, 5, 7]),
        (json.dumps(ROWS), [1, 2, 3, 4]),
        (json.dumps(ROWS, indent=2), [1, 2, 3, 4]),
        ("\n" + "\n".join(json.dumps(row, indent=1) for row in ROWS[:2]), [1, 2]),
    ],
)
def test_rows_are_as_they_are(kind, text, numbers, tmp_path):
    path = tmp_path / f"rows.jsonl{kind}"
    with OPENERS[kind](path, "wt", encoding="utf-8") as file:
        file.write(text)
    assert is_json_file(str(path))
    assert list(read_json_file(str(path))) == [{"row": row, "number": at} for row, at in zip(ROWS, numbers)]


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda data: data[:40] + b"\xff\xfe" + data[40:]])
def test_a_damaged_file_is_named(kind, damage, tmp_path):
    path = tmp_path / f"rows.json{kind}"
    with OPENERS[kind](path, "wt", encoding="utf-8") as file:
        file.write("".join(json.dumps({"text": f"words {number}"}) + "\n" for number in range(200)))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=f"^rows.json{kind} cannot be read: "):
        list(read_json_file(str(path)))


def test_what_others_read():
    assert not any(map(is_json_file, ["a.txt", "a.parquet", "a.jsonl.zst", "json", "a.json.txt", "a"]))
    assert all(map(is_json_file, ["a.json", "b/a.jsonl.gz", "a.b.json"]))
