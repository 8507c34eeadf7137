# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A run that has come to its end is known again when it is started once more; anything else is another run."""

from __future__ import annotations

import json
import os

import pytest
import torch

from optimum_evoesap import MoEPruner
from tests.pruning import logits, make_pruner, rows
from tests.run.broken_off import double


SAID = "The result of this very run is whole already"
REPLACED = "holds an earlier result, which this one will replace"


def run(folder, search_seed=1, change=lambda model: None, resume=True, **options):
    pruner = make_pruner(**options)
    change(pruner.model)
    pruner.prune(folder, rows(), rows(seed=search_seed), resume=resume)
    return pruner


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def first(tmp_path):
    return run(tmp_path / "out")


@pytest.fixture
def stages(monkeypatch):
    """The stages that ran."""
    ran = []

    def noted(name):
        stage = getattr(MoEPruner, name)
        monkeypatch.setattr(
            MoEPruner, name, lambda self, *given, **named: ran.append(name) or stage(self, *given, **named)
        )

    for name in ("calibrate", "rank", "search", "_write"):
        noted(name)
    return ran


def test_the_same_run_takes_its_result_and_does_nothing_else(first, tmp_path, stages, caplog):
    written = files(tmp_path / "out")
    passes = []
    again = run(tmp_path / "out", change=lambda model: model.register_forward_hook(lambda *_: passes.append(1)))
    assert SAID in caplog.text and REPLACED not in caplog.text
    assert stages == [] and passes == []
    assert files(tmp_path / "out") == written
    assert again.result == first.result and again.kept_experts == first.kept_experts
    assert again.allocation == first.allocation and again.history == first.history and again.order == first.order
    assert torch.equal(logits(again.model), logits(first.model))
    again.save_pretrained(tmp_path / "copy")
    weights = [folder / "model.safetensors" for folder in (tmp_path / "out", tmp_path / "copy")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_killed_after_everything_was_in_place_it_is_at_its_end(tmp_path, stages, monkeypatch, caplog):
    """The state goes last; a kill in the middle of that leaves part of it."""

    def killed(state):
        next(state.glob("search-*.json")).unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr("optimum_evoesap.checkpoint.files.remove_state", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out")
    monkeypatch.undo()
    assert (tmp_path / "out" / ".evoesap" / "statistics.safetensors").is_file()
    written = files(tmp_path / "out")
    again = run(tmp_path / "out")
    assert SAID in caplog.text and not (tmp_path / "out" / ".evoesap").exists()
    assert files(tmp_path / "out") == {name: each for name, each in written.items() if name.parts[0] != ".evoesap"}
    assert again.result.allocation


CHANGES = {
    "option": {"generations": 4},
    "search data": {"search_seed": 2},
    "weights": {"change": double("model.embed_tokens.weight")},
    "no resume": {"resume": False},
    "seed": {"seed": 3},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_another_run_replaces_it(change, first, tmp_path, stages, caplog):
    run(tmp_path / "out", **change)
    assert SAID not in caplog.text and REPLACED in caplog.text
    assert stages == ["calibrate", "rank", "search", "_write"]


def edit(name, change):
    def damage(folder):
        path = folder / name
        path.write_text(json.dumps(change(json.loads(path.read_text()))))

    return damage


def cut(folder):
    os.truncate(folder / "model.safetensors", 1000)


DAMAGES = {
    "another score": edit("evoesap_result.json", lambda result: result | {"scores": {"best": 0.99}}),
    "cut weights": cut,
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "no config": lambda folder: (folder / "config.json").unlink(),
    "no ranking": edit("evoesap_ranking.json", lambda ranking: {}),
}
NO_RESULTS = {
    "another allocation": edit("evoesap_result.json", lambda result: result | {"allocation": [4, 0, 8]}),
    "no list of files": edit("evoesap_result.json", lambda result: result | {"files": []}),
    "seal of another type": edit("evoesap_result.json", lambda result: result | {"seal": 5}),
    "no record": edit("evoesap_result.json", lambda result: []),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_what_is_not_as_it_was_written_is_made_again(damage, first, tmp_path, stages, caplog):
    written = files(tmp_path / "out")
    damage(tmp_path / "out")
    run(tmp_path / "out")
    assert SAID not in caplog.text and "_write" in stages
    assert files(tmp_path / "out") == written


@pytest.mark.parametrize("damage", NO_RESULTS.values(), ids=NO_RESULTS)
def test_what_is_no_result_any_more_is_neither_taken_nor_replaced(damage, first, tmp_path, stages, caplog):
    damage(tmp_path / "out")
    written = files(tmp_path / "out")
    with pytest.raises(FileExistsError):
        run(tmp_path / "out")
    assert SAID not in caplog.text and stages == []
    assert files(tmp_path / "out") == written


def test_what_was_applied_or_saved_by_hand_is_no_finished_run(first, tmp_path, caplog):
    first.save_pretrained(tmp_path / "other")
    run(tmp_path / "other")
    assert SAID not in caplog.text and REPLACED in caplog.text
    assert files(tmp_path / "other") == files(tmp_path / "out")


def test_a_ranking_counts_by_what_is_in_it(first, tmp_path, stages, caplog):
    def ranked(**options):
        pruner = make_pruner(**options)
        pruner.prune(tmp_path / "ranked", search_data=rows(seed=1), ranking=tmp_path / "out")
        return pruner.result

    result = ranked()
    assert SAID not in caplog.text
    assert ranked() == result and SAID in caplog.text
    assert stages.count("_write") == 1
    run(tmp_path / "out", criterion="ean")
    caplog.clear()
    ranked(criterion="ean")
    assert SAID not in caplog.text
