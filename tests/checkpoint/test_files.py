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


@pytest.mark.parametrize("text", ["not json", "{}", "[1]", '{"files": ["config.json", "model.safetensors"]}'])
def test_a_name_alone_makes_no_folder_ours(tmp_path, text):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_text("of somebody")
    (tmp_path / "evoesap_result.json").write_text(text)
    with pytest.raises(FileExistsError, match="is taken for that of others"):
        make_pruner().prune(tmp_path, rows(), rows())
    assert (tmp_path / "model.safetensors").read_text() == "of somebody"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json",
        "evoesap_result.json",
        "model.safetensors",
    ]


def test_weights_that_the_result_does_not_list(tmp_path):
    make_pruner(allocation="uniform").prune(tmp_path, rows())
    (tmp_path / "pytorch_model.bin").write_text("of somebody")
    with pytest.raises(FileExistsError, match=r"pytorch_model.bin, which its evoesap_result.json does not list"):
        make_pruner(allocation="uniform").prune(tmp_path, rows())


def test_a_front_of_others(tmp_path):
    (tmp_path / "evoesap_front.json").write_text("not json")
    with pytest.raises(FileExistsError, match="is taken for that of others"):
        make_pruner().front([0.25], rows(), rows(), save_directory=tmp_path)


def test_links_and_the_home_folder(tmp_path, monkeypatch):
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError, match="is a link to .*nowhere, which is not there"):
        make_pruner().prune(tmp_path / "dangling", rows(), rows())
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    make_pruner(allocation="uniform").prune(tmp_path / "link", rows())
    assert (tmp_path / "real" / "config.json").is_file() and (tmp_path / "link").is_symlink()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    pruner = make_pruner(allocation="uniform")
    pruner.prune("~/home", rows())
    pruner.save_pretrained("~/again")
    assert (tmp_path / "home" / "config.json").is_file() and (tmp_path / "again" / "config.json").is_file()
    assert not (tmp_path / "~").exists()
    MoEPruner.from_pretrained("~/home", EvoESAPConfig(sparsity=0.25))


def test_the_working_directory_may_change_while_it_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    pruner = make_pruner(allocation="uniform")
    calibrate = pruner.calibrate
    pruner.calibrate = lambda *given: (os.chdir(tmp_path / "elsewhere"), calibrate(*given))[1]
    pruner.prune("out", rows())
    assert (tmp_path / "out" / "config.json").is_file() and not list((tmp_path / "elsewhere").iterdir())
