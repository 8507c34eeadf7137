# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What a broken-off run leaves behind: used where it is this run's and whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from optimum_evoesap.run.state import RunState
from tests.run.broken_off import break_off, double, finish


def test_statistics_carry_their_own_key(tmp_path, caplog):
    """A kill between two files would give the statistics of one run the key of another."""
    break_off(tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out" / ".evoesap").iterdir()) == [
        *(f"search-00000{number}.json" for number in range(3)),
        "statistics.safetensors",
    ]
    break_off(tmp_path / "other", double("model.embed_tokens.weight"))
    name = Path(".evoesap", "statistics.safetensors")
    os.replace(tmp_path / "other" / name, tmp_path / "out" / name)
    result = finish(tmp_path / "out")
    assert "statistics.safetensors is of a run with another model" in caplog.text
    assert result == finish(tmp_path / "clean")


def flip(content, place):
    return content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]


DAMAGES = {
    "empty": lambda content: b"",
    "truncated": lambda content: content[: len(content) // 2],
    "garbage": lambda content: os.urandom(500),
    "text": lambda content: b"[" * 100_000,
    "other shape": lambda content: b'{"key": 1, "scores": [[1]]}',
    "list": lambda content: b"[1, 2]",
    "flipped in front": lambda content: flip(content, 3),
    "flipped in the middle": lambda content: flip(content, len(content) // 2),
    "flipped at the end": lambda content: flip(content, len(content) - 6),
}


@pytest.mark.parametrize("name", ["search-000001.json", "statistics.safetensors"])
def test_damaged_pieces_are_made_anew(name, tmp_path, caplog):
    first = break_off(tmp_path / "out")
    path = tmp_path / "out" / ".evoesap" / name
    whole = path.read_bytes()
    for damage in DAMAGES.values():
        path.write_bytes(damage(whole))
        caplog.clear()
        again = break_off(tmp_path / "out")
        assert f"{path} is damaged" in caplog.text
        assert sorted(path.read_bytes()) == sorted(whole)  # safetensors orders its metadata anew each time
        assert (again.scores, again.history) == (first.scores, first.history)


def test_pieces_are_on_the_disk_before_they_are_in_place(tmp_path, monkeypatch):
    done = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: done.append("fsync") or fsync(file))
    monkeypatch.setattr(os, "replace", lambda old, new: done.append(Path(old).name) or replace(old, new))
    with RunState(tmp_path) as state:
        for _ in range(2):
            state.append("search", "key", {"scores": []})
    assert [each if each == "fsync" else "move" for each in done] == ["fsync", "move", "fsync"] * 2
    assert done[1] != done[4], "partial files have names of their own"


def test_stages_after_a_broken_off_run_do_not_touch_its_folder(tmp_path):
    pruner = break_off(tmp_path / "out")
    state = tmp_path / "out" / ".evoesap" / "statistics.safetensors"
    state.unlink()
    pruner.calibrate()
    assert not state.exists()
