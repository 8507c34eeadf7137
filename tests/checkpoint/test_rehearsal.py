# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What is needed at the end is found out before the work; what is an ornament stops nothing."""

from __future__ import annotations

import shutil
from collections import namedtuple

import pytest
from transformers import AutoTokenizer

from optimum_evoesap.checkpoint import write
from optimum_evoesap.run.disk_errors import DiskError
from tests.checkpoint.checkpoints import TINY_MOE
from tests.pruning import make_pruner, rows


def idle(pruner):
    """A pruner that must not begin its work."""
    pruner.calibrate = lambda *_: pytest.fail("the long work must not start")
    return pruner


@pytest.mark.parametrize("place", ["out", None])
def test_a_generation_config_that_cannot_be_saved(tmp_path, place):
    pruner = idle(make_pruner(allocation="uniform"))
    pruner.model.generation_config.temperature = 0.5
    pruner.model.generation_config.do_sample = False
    push = {} if place else {"push_to_hub": True, "hub_model_id": "me/x", "token": "hf_x"}
    with pytest.raises(ValueError, match=r"generation_config.json of the model cannot be saved.*temperature"):
        pruner.prune(place and tmp_path / place, rows(), **push)
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_that_cannot_be_saved(tmp_path):
    pruner = idle(make_pruner(allocation="uniform"))
    pruner.tokenizer = AutoTokenizer.from_pretrained(TINY_MOE)
    pruner.tokenizer.init_kwargs["cannot"] = object()
    with pytest.raises(ValueError, match="cannot be saved, so the pruned model could not be either"):
        pruner.prune(tmp_path / "out", rows())


def test_a_folder_in_the_place_of_a_file_is_found_before_the_work(tmp_path):
    make_pruner(allocation="uniform").prune(tmp_path / "out", rows())
    (tmp_path / "out" / "tokenizer.json").mkdir()
    pruner = idle(make_pruner(allocation="uniform"))
    pruner.tokenizer = AutoTokenizer.from_pretrained(TINY_MOE)
    with pytest.raises(FileExistsError, match=r"tokenizer.json is in the place of tokenizer.json"):
        pruner.prune(tmp_path / "out", rows())
    assert not (tmp_path / "out" / ".evoesap").exists()


def test_too_little_room_is_found_before_the_work(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 0, 10))
    with pytest.raises(DiskError, match=r"has 10 B free, and the result needs about .* MB, beside an earlier one"):
        idle(make_pruner(allocation="uniform")).prune(tmp_path / "out", rows())
    assert not (tmp_path / "out").exists()


def test_a_card_that_cannot_be_made_loses_nothing(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(write, "create_model_card", lambda *_, **__: {}["a bug"])
    make_pruner(allocation="uniform").prune(tmp_path / "out", rows())
    assert "The model card cannot be made" in caplog.text
    assert "experts removed by optimum-evoesap" in (tmp_path / "out" / "README.md").read_text()


def test_hostile_metadata_of_the_base_model(tmp_path):
    make_pruner().model.save_pretrained(tmp_path / "base")
    (tmp_path / "base" / "README.md").write_text("---\ndatasets: 5\ntags: 5\nlicense: mit\n---\n")
    pruner = make_pruner(allocation="uniform", base=str(tmp_path / "base"))
    pruner.prune(tmp_path / "out", rows())
    assert "license: mit" in (tmp_path / "out" / "README.md").read_text()
