# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""An earlier result and a new one change places whole, or not at all, wherever it ends."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from optimum_evoesap.checkpoint import exchange as module
from optimum_evoesap.checkpoint.exchange import PARTIAL, exchange, file_names, undo_exchange
from optimum_evoesap.checkpoint.files import check_output_folder, clear_partial_checkpoint
from tests.reports.results import SEARCHED


OLD = ("config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "tokenizer.json",
       "additional_chat_templates/tool.jinja")  # fmt: skip
NEW = ("config.json", "model.safetensors", "tokenizer.json", "README.md", "additional_chat_templates/other.jinja")


def write(folder: Path, names, text):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{text} {name}")
    dataclasses.replace(SEARCHED, seed=len(names), files=sorted([*names, "evoesap_result.json"])).save(folder)


def contents(folder: Path):
    return {name: (folder / name).read_bytes() for name in file_names(folder) if not name.startswith(".evoesap")}


def make(folder: Path, has_old=True):
    """A folder with a whole new checkpoint, and what it holds before and after."""
    partial = folder / ".evoesap" / PARTIAL
    partial.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    if has_old:
        write(folder, OLD, "old")
    write(partial, NEW, "new")
    before = contents(folder)
    return partial, before, contents(partial) | {"notes.txt": b"mine"}


class Killed(BaseException):
    """Nothing more is done, as after a kill."""


def die_at(monkeypatch, number, what=Killed):
    """Let the process die, or fail, at one of its moves, and at each after it."""
    calls = []
    for name in ("replace", "mkdir", "link", "rmdir", "unlink"):
        call = getattr(os, name)

        def counted(*args, call=call, **kwargs):
            calls.append(call)
            if len(calls) > number:
                raise what(28, "No space left on device") if what is OSError else what()
            return call(*args, **kwargs)

        monkeypatch.setattr(module.os, name, counted)
    return calls


def test_all_is_new_and_nothing_else_is_touched(tmp_path):
    partial, _, after = make(tmp_path)
    assert exchange(partial, tmp_path) == sorted([*NEW, "evoesap_result.json"])
    assert contents(tmp_path) == after


@pytest.mark.parametrize("has_old", [True, False])
def test_a_kill_between_any_two_steps(tmp_path, monkeypatch, has_old):
    outcomes = set()
    for number in range(60):
        folder = tmp_path / str(number)
        partial, before, after = make(folder, has_old)
        with monkeypatch.context() as patch:
            die_at(patch, number)
            patch.setattr(module, "undo_exchange", lambda *_: None)
            try:
                exchange(partial, folder)
            except Killed:
                pass
        # What loads is whole, and whatever is there the result lists.
        now = contents(folder)
        if "config.json" in now:
            assert now in (before, after), number
        # The one who puts back is killed too, at each of his steps.
        for again in range(60):
            with monkeypatch.context() as patch:
                die_at(patch, again)
                try:
                    undo_exchange(folder)
                except Killed:
                    continue
            break
        assert contents(folder) in (before, after), number
        outcomes.add(contents(folder) == after)
        if has_old:
            check_output_folder(folder)  # known as ours
        clear_partial_checkpoint(folder)
        left = [path.name for path in (folder / ".evoesap").rglob("*") if path.is_file()]
        assert left in ([], ["evoesap_result.json.partial"])  # of which the state takes care
    assert outcomes == {True, False}


def test_what_fails_is_put_back_at_once(tmp_path, monkeypatch):
    """A disk that fails for good at one of the steps, but lets what was there be moved back."""
    for number in range(40):
        folder = tmp_path / str(number)
        partial, before, after = make(folder)
        with monkeypatch.context() as patch:
            real = undo_exchange

            def undo(directory, patch=patch, real=real):
                patch.undo()
                real(directory)

            die_at(patch, number, OSError)
            patch.setattr(module, "undo_exchange", undo)
            try:
                exchange(partial, folder)
            except OSError as error:
                assert error.errno == 28
        assert contents(folder) == (after if not (partial / "config.json").exists() else before)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors", "evoesap_result.json"])
def test_a_folder_in_the_place_of_a_file_is_found_before_anything_is_moved(tmp_path, name):
    partial, _, _ = make(tmp_path, has_old=False)
    (tmp_path / name / "mine").mkdir(parents=True)
    before = contents(tmp_path)
    with pytest.raises(FileExistsError, match=f"{name} is in the place of {name} of the result"):
        exchange(partial, tmp_path)
    assert contents(tmp_path) == before and (tmp_path / name / "mine").is_dir() and (partial / "config.json").is_file()


def test_a_file_or_link_in_the_place_of_a_folder(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    for number, put in enumerate(
        (lambda path: path.write_text("mine"), lambda path: path.symlink_to(tmp_path / "elsewhere"))
    ):
        folder = tmp_path / str(number)
        partial, _, _ = make(folder, has_old=False)
        put(folder / "additional_chat_templates")
        with pytest.raises(FileExistsError, match="additional_chat_templates is in the place"):
            exchange(partial, folder)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_file_of_others_is_not_replaced(tmp_path):
    partial, before, _ = make(tmp_path)
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(FileExistsError, match=r"README.md is not of the earlier result"):
        exchange(partial, tmp_path)
    assert contents(tmp_path) == before | {"README.md": b"mine"}
