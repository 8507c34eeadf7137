# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Output folders that cannot take a checkpoint: found before the work."""

from __future__ import annotations

import os

import pytest

from optimum_evoesap import EvoESAPConfig, MoEPruner
from tests.pruning import make_pruner, rows


def test_an_output_folder_that_holds_something_else(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    pruner = make_pruner()
    with pytest.raises(FileExistsError, match="thesis.tex"):
        pruner.prune(tmp_path / "out", rows(), rows())
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileExistsError, match="is a file"):
        pruner.prune(tmp_path / "file", rows(), rows())


def test_the_model_itself_is_never_written_over(tmp_path):
    """Pruning again, with the folder of the model given as the output."""
    make_pruner(allocation=[6, 6, 0]).prune(tmp_path / "first", rows())
    before = (tmp_path / "first" / "model.safetensors").read_bytes()
    pruner = MoEPruner.from_pretrained(
        tmp_path / "first", EvoESAPConfig(allocation=[0, 0, 6], sequence_length=16, calibration_samples=6)
    )
    (tmp_path / "link").symlink_to(tmp_path / "first")
    for folder in (tmp_path / "first", tmp_path / "link", tmp_path / "first" / ".." / "first"):
        with pytest.raises(FileExistsError, match="holds the model that is to be pruned"):
            pruner.prune(folder, rows())
    pruner.prune(tmp_path / "second", rows())
    with pytest.raises(FileExistsError, match="holds the model that is to be pruned"):
        pruner.save_pretrained(tmp_path / "first")
    assert (tmp_path / "first" / "model.safetensors").read_bytes() == before


def test_an_earlier_result_is_replaced_with_a_warning(tmp_path, caplog):
    make_pruner(allocation=[6, 6, 0]).prune(tmp_path / "out", rows())
    assert "earlier result" not in caplog.text
    make_pruner(allocation=[6, 0, 6]).prune(tmp_path / "out", rows())
    assert "out holds an earlier result, which this one will replace" in caplog.text


def test_an_output_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("x")
    pruner = make_pruner()
    pruner.calibrate = lambda *_: pytest.fail("the long work must not start")
    with pytest.raises(OSError):
        pruner.prune(tmp_path / "file" / "out", rows(), rows())


def test_what_a_killed_run_left_and_cannot_be_removed_is_found_before_the_work(tmp_path, monkeypatch):
    left = tmp_path / "out" / ".evoesap" / "checkpoint"
    left.mkdir(parents=True)
    (left / "config.json").write_text("{}")
    remove = os.unlink

    def unlink(path, *args, **kwargs):
        if str(path).endswith("config.json"):
            raise PermissionError(f"not permitted: {path}")
        return remove(path, *args, **kwargs)

    monkeypatch.setattr(os, "unlink", unlink)
    pruner = make_pruner(allocation="uniform")
    pruner.calibrate = lambda *_: pytest.fail("the long work must not start")
    with pytest.raises(PermissionError):
        pruner.prune(tmp_path / "out", rows())
