# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A killed front that is started again."""

from __future__ import annotations

import json

import pytest

from optimum_evoesap.reports.front import FRONT_NAME, Front
from optimum_evoesap.reports.result import PruningResult
from optimum_evoesap.search import guard
from optimum_evoesap.search.board import ScoreBoard
from tests.pruning import make_pruner, rows


OPTIONS = {"allocation": "guided", "criterion": "esap", "search_samples": 16}
SPARSITIES = [0.25, 0.5]


def run(folder, **options):
    return make_pruner(**OPTIONS).front(SPARSITIES, rows(), rows(24, seed=1), save_directory=folder, **options)


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.json")}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    run(folder)
    return files(folder)


@pytest.mark.parametrize("rounds", [1, 4, 9, 14])
def test_a_front_killed_between_rounds_goes_on_with_the_same_bits(rounds, unbroken, tmp_path, monkeypatch):
    score, done = ScoreBoard.score, []

    def killed(self, *given, **named):
        if len(done) == rounds:
            raise KeyboardInterrupt
        done.append(given)
        return score(self, *given, **named)

    monkeypatch.setattr(ScoreBoard, "score", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    monkeypatch.undo()
    assert not (tmp_path / FRONT_NAME).exists() and (tmp_path / ".evoesap").exists()
    run(tmp_path)
    assert files(tmp_path) == unbroken


def test_a_front_killed_while_results_are_compared_or_written_goes_on(unbroken, tmp_path, monkeypatch):
    def kill(*given, **named):
        raise KeyboardInterrupt

    monkeypatch.setattr(guard, "paired_interval", kill)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    monkeypatch.undo()

    save, saved = PruningResult.save, []

    def save_one(self, directory):
        if saved:
            raise KeyboardInterrupt
        saved.append(directory)
        return save(self, directory)

    monkeypatch.setattr(PruningResult, "save", save_one)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    monkeypatch.undo()
    assert (tmp_path / "0.25").exists() and not (tmp_path / FRONT_NAME).exists()
    run(tmp_path)
    assert files(tmp_path) == unbroken


def test_another_front_replaces_an_earlier_one(tmp_path):
    run(tmp_path)
    make_pruner().front([0.6], rows(), rows(24, seed=1), save_directory=tmp_path)
    assert list(Front.load(tmp_path)) == [0.6]
    assert {path.name for path in tmp_path.iterdir()} == {FRONT_NAME, "evoesap_ranking.json", "0.6"}
    assert json.loads((tmp_path / "0.6" / "evoesap_result.json").read_text())["criterion"] == "reap"


def test_a_checkpoint_in_the_folder_of_a_point_is_not_written_over(tmp_path):
    front = run(tmp_path)
    pruner = make_pruner(**OPTIONS)
    pruner.prune(tmp_path / "0.5", result=front[0.5])
    with pytest.raises(FileExistsError, match="holds 0.5, which is not"):
        run(tmp_path)
