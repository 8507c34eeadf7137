# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""How a checkpoint is written: what loads comes last, and what was there before is replaced."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from optimum_evoesap import PruningResult
from tests.memory import aligned
from tests.pruning import logits, make_pruner, rows


def test_what_loads_comes_last(tmp_path, monkeypatch):
    """A kill while files are moved into place must not leave a folder that loads and is half a checkpoint."""
    moved = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda old, new: moved.append(Path(new).name) or replace(old, new))
    make_pruner(allocation=[1, 2, 3]).prune(tmp_path / "out", rows())
    assert moved[-1] == "config.json" and "model.safetensors" in moved


def test_a_folder_of_an_earlier_result_is_replaced(tmp_path):
    """Tokenizers with several chat templates save them in a folder."""

    class Tokenizer:
        def save_pretrained(self, folder):
            templates = Path(folder) / "additional_chat_templates"
            templates.mkdir()
            (templates / "tools.jinja").write_text(self.text)

    for text in ("old", "new"):
        pruner = make_pruner(allocation=[1, 2, 3])
        pruner.tokenizer = Tokenizer()
        pruner.tokenizer.text = text
        pruner.prune(tmp_path / "out", rows())
    assert (tmp_path / "out" / "additional_chat_templates" / "tools.jinja").read_text() == "new"


def test_an_earlier_result_is_replaced_and_the_users_files_stay(tmp_path):
    make_pruner(allocation=[6, 6, 0]).prune(tmp_path / "out", rows())
    shard = tmp_path / "out" / "model-00007-of-00009.safetensors"
    shard.write_text("of an earlier checkpoint")
    result = PruningResult.load(tmp_path / "out")
    result.files.append(shard.name)
    result.save(tmp_path / "out")
    (tmp_path / "out" / "eval_results.json").write_text("{}")
    pruner = make_pruner(allocation=[0, 0, 6])
    pruner.prune(tmp_path / "out", rows())
    assert not shard.exists()
    assert (tmp_path / "out" / "eval_results.json").exists()
    assert PruningResult.load(tmp_path / "out").allocation == [0, 0, 6]
    reloaded = aligned(AutoModelForCausalLM.from_pretrained(tmp_path / "out")).to(pruner.model.device)
    assert torch.equal(logits(pruner.model), logits(reloaded))


def test_an_output_folder_behind_a_link_and_a_log_written_into_it(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    pruner = make_pruner(allocation=[1, 2, 3])
    calibrate = pruner.calibrate
    pruner.calibrate = lambda: (tmp_path / "out" / "train.log").write_text("started") and calibrate()
    pruner.prune(tmp_path / "out", rows())
    assert (tmp_path / "out").is_symlink() and (tmp_path / "disk" / "config.json").is_file()
    assert (tmp_path / "disk" / "train.log").is_file()


def test_state_that_cannot_be_removed_after_success_is_said_and_not_an_error(tmp_path, monkeypatch, caplog):
    remove = Path.unlink

    def unlink(path, *args, **kwargs):
        if path.name == "statistics.safetensors":
            raise PermissionError("not permitted")
        return remove(path, *args, **kwargs)

    monkeypatch.setattr(Path, "unlink", unlink)
    make_pruner(allocation="uniform").prune(tmp_path / "out", rows())
    assert "cannot be removed" in caplog.text
    monkeypatch.undo()
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "out")
