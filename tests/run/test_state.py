# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What a broken-off run leaves behind: used where it is this run's and whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from optimum_evoesap.run.folder_lock import FolderLock
from optimum_evoesap.run.pieces import read_json
from optimum_evoesap.run.state import RunState
from tests.run.broken_off import break_off, double, finish


pytestmark = pytest.mark.usefixtures("keeps_rounds")


def test_statistics_carry_their_own_key(tmp_path, caplog):
    """A kill between two files would give the statistics of one run the key of another."""
    break_off(tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out" / ".evoesap").iterdir()) == [
        *(f"heldout-00000{number}.json" for number in range(2)),
        *(f"search-00000{number}.json" for number in range(4)),
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


def contents(path):
    """All that is the same each time: not the order of the metadata in safetensors, nor how long the work took."""
    if path.suffix == ".safetensors":
        return sorted(path.read_bytes())
    key, content = read_json(path)
    return key, content | {"seconds": None}


@pytest.mark.parametrize("name", ["search-000001.json", "statistics.safetensors"])
def test_damaged_pieces_are_made_anew(name, tmp_path, caplog):
    first = break_off(tmp_path / "out")
    path = tmp_path / "out" / ".evoesap" / name
    whole, before = path.read_bytes(), contents(path)
    for damage in DAMAGES.values():
        path.write_bytes(damage(whole))
        caplog.clear()
        again = break_off(tmp_path / "out")
        assert f"{path} is damaged" in caplog.text
        assert contents(path) == before
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


def test_what_is_no_piece_does_not_stop_a_run(tmp_path):
    first = break_off(tmp_path / "out")
    state = tmp_path / "out" / ".evoesap"
    piece = (state / "search-000000.json").read_bytes()
    for name in ("search-000000 (conflict).json", "search-.json", "search-a.json", "search-1-2x.json"):
        (state / name).write_bytes(piece)
    again = break_off(tmp_path / "out")
    assert (again.scores, again.history) == (first.scores, first.history)


def test_only_the_pieces_of_a_kind_are_read(tmp_path):
    with RunState(tmp_path) as state:
        for name, content in (("search", 1), ("search-more", 2), ("search", 3)):
            state.append(name, "key", content)
    with RunState(tmp_path) as state:
        assert state.load_series("search", "key", lambda content: content) == [1, 3]
        assert state.load_series("search-more", "key", lambda content: content) == [2]


def test_without_resume_folders_stay(tmp_path):
    folder = tmp_path / ".evoesap" / "x.json"
    folder.mkdir(parents=True)
    (folder.parent / "search-000000.json").write_text("")
    with RunState(tmp_path, resume=False):
        assert sorted(path.name for path in folder.parent.iterdir()) == ["lock", "x.json"]


def test_an_error_on_entering_lets_the_folder_go(tmp_path, monkeypatch):
    (tmp_path / ".evoesap").mkdir()
    (tmp_path / ".evoesap" / "x.json").write_text("")
    unlink = Path.unlink

    def fail(self, missing_ok=False):
        if self.name == "x.json":
            raise PermissionError(self)
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", fail)
    state = RunState(tmp_path, resume=False)
    with pytest.raises(PermissionError):
        state.__enter__()
    with FolderLock(tmp_path):
        pass
