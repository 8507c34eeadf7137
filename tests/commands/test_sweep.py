# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""`optimum-cli evoesap sweep`: a table, and results that `apply` takes."""

from __future__ import annotations

import dataclasses
import json

import pytest

from optimum_evoesap import EvoESAPConfig, PruningResult
from optimum_evoesap.options import EvoESAPOptions
from optimum_evoesap.reports.front import Front
from optimum_evoesap.search.board import ScoreBoard
from tests.commands.helpers import EXPERTS, FAST, LAYERS, data_options, stored_bytes


FAST = [*FAST, "--criterion", "reap"]


def test_a_point_of_a_sweep_becomes_the_checkpoint_that_was_foreseen(cli, checkpoint, data, tmp_path):
    given = ["-m", checkpoint, "--device-map", "none"]
    code, printed, error = cli(
        "sweep", *given, "-o", tmp_path / "front", "--sparsities", "0.5", "0.25", *FAST, *data_options(data)
    )
    assert code == 0, error
    front = Front.load(tmp_path / "front")
    assert list(front) == [0.25, 0.5] and front.table() in printed
    assert [result.budget for result in front.values()] == [LAYERS * EXPERTS // 4, LAYERS * EXPERTS // 2]
    assert not (tmp_path / "front" / ".evoesap").exists()

    code, _, error = cli("apply", "--result", tmp_path / "front" / "0.5", *given, "-o", tmp_path / "pruned")
    assert code == 0, error
    result, point = PruningResult.load(tmp_path / "pruned"), front.points[1]
    assert result.kept_experts == point.result.kept_experts
    assert (result.parameters, result.size_in_bytes) == (point.result.parameters, point.result.size_in_bytes)
    assert stored_bytes(tmp_path / "pruned") == point.checkpoint_bytes
    assert (result.scores, result.interval) == (point.result.scores, point.result.interval)


def test_a_sweep_leaves_a_ranking_for_another_budget(cli, checkpoint, data, tmp_path):
    given = ["-m", checkpoint, "--device-map", "none", *FAST, "--search-dataset", data]
    first, second = tmp_path / "first", tmp_path / "second"
    assert cli("sweep", *given, "-o", first, "--sparsities", "0.5", "--calibration-dataset", data)[0] == 0
    code, _, error = cli("sweep", *given, "-o", second, "--sparsities", "0.25", "--ranking", first)
    assert code == 0 and "calibrate" not in error
    orders = [json.loads((folder / "evoesap_ranking.json").read_text())["layers"] for folder in (first, second)]
    assert orders[0] == orders[1]


def test_a_dry_run_of_a_sweep_has_a_time_for_each_sparsity(cli, checkpoint, data, tmp_path):
    out = tmp_path / "front"
    given = ["sweep", "-m", checkpoint, "-o", out, "--sparsities", "0.5", "0.25", *FAST, *data_options(data)]
    code, printed, error = cli(*given, "--dry-run")
    assert code == 0, error
    stages = [line.split("  ")[0] for line in printed.splitlines()[2:7]]
    assert stages == ["calibrate", "search at 0.25", "search at 0.5", "held-out", "all"]
    assert "Checkpoint: " not in printed and not out.exists()


def test_a_sweep_takes_the_configuration_of_a_run(cli, checkpoint, data, tmp_path):
    config = EvoESAPConfig(
        target_size="1GB",
        criterion="frequency",
        allocation="uniform",
        calibration_dataset=str(data),
        search_dataset=str(data),
    )
    config.save_pretrained(tmp_path)
    out = tmp_path / "out"
    code, _, error = cli("sweep", "-m", checkpoint, "-o", out, "-c", tmp_path, "--sparsities", "0.25", *FAST[:-2])
    assert code == 0, error
    result = Front.load(out)[0.25]
    assert (result.criterion, result.allocation) == ("frequency", [2, 2, 2])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--sparsities", "0.5", "1.5"], "strictly between 0 and 1"),
        (["--sparsities", "0.5", "0.9"], "largest possible sparsity"),
        (["--sparsities", "0.5", "--allocation", "1,2,3"], "allocation"),
    ],
)
def test_what_cannot_be_swept_is_said_in_one_line(given, said, cli, checkpoint, data, tmp_path):
    code, _, error = cli("sweep", "-m", checkpoint, "-o", tmp_path / "out", *given, *FAST, *data_options(data))
    last = error.strip().splitlines()[-1]
    assert code == 2 and last.startswith("error: ") and said in last
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_else_is_refused(cli, checkpoint, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    code, _, error = cli("sweep", "-m", checkpoint, "-o", tmp_path, "--sparsities", "0.5")
    assert code == 2 and "notes.txt" in error


def test_the_help_names_all_choices_but_those_that_sparsities_replace(cli):
    code, printed, _ = cli("sweep", "--help")
    assert code == 0
    words = printed.split()
    for field in dataclasses.fields(EvoESAPOptions):
        is_replaced = field.name in ("sparsity", "target_size")
        assert (
            f"--{field.name.replace('_', '-')}" in words or f"--{field.name.replace('_', '-')}," in words
        ) != is_replaced


def test_ctrl_c_says_what_is_saved_and_the_same_command_goes_on(cli, checkpoint, data, tmp_path, monkeypatch):
    given = ["sweep", "-m", checkpoint, "-o", tmp_path / "front", "--sparsities", "0.25", "0.5"]
    given += [*FAST, "--allocation", "evolution", *data_options(data)]
    score, rounds = ScoreBoard.score, []

    def interrupted(self, *arguments, **named):
        rounds.append(arguments)
        if len(rounds) == 3:
            raise KeyboardInterrupt
        return score(self, *arguments, **named)

    monkeypatch.setattr(ScoreBoard, "score", interrupted)
    code, _, error = cli(*given)
    last = error.strip().splitlines()[-1]
    assert code == 130 and last.startswith(f"Stopped. Saved in {tmp_path / 'front'}: ") and "goes on" in last
    assert cli(*given)[0] == 0
    assert list(Front.load(tmp_path / "front")) == [0.25, 0.5]
