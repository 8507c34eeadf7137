# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""`optimum-cli evoesap inspect`: counts as by hand, and what a real run comes to."""

from __future__ import annotations

import dataclasses
import json

import pytest

from optimum_evoesap import PruningResult
from optimum_evoesap.reports.inspection import inspect_model
from tests.commands.helpers import EXPERT_WIDTH, EXPERTS, FAST, HIDDEN, LAYERS, VOCABULARY, data_options, stored_bytes


def hand_count():
    expert = 3 * EXPERT_WIDTH * HIDDEN + HIDDEN  # gate, up, down, and its row of the router
    key_value = HIDDEN // 2
    attention = 2 * HIDDEN * HIDDEN + 2 * HIDDEN * key_value + HIDDEN + key_value
    total = 2 * VOCABULARY * HIDDEN + LAYERS * (attention + 2 * HIDDEN + EXPERTS * expert) + HIDDEN
    return expert, total


def test_inspect_counts_as_by_hand(cli, checkpoint):
    code, printed, _ = cli("inspect", "-m", checkpoint, "--json")
    assert code == 0
    found = json.loads(printed)
    expert, total = hand_count()
    assert found["dtype"] == "bfloat16" and found["model_type"] == "olmoe"
    assert found["parameters"] == total and found["size_in_bytes"] == 2 * total
    assert found["expert_parameters"] == LAYERS * EXPERTS * 3 * EXPERT_WIDTH * HIDDEN
    assert found["expert_share"] == pytest.approx(found["expert_parameters"] / total)
    assert [layer["index"] for layer in found["layers"]] == [0, 1, 2]
    layer = {"num_experts": 8, "top_k": 2, "num_groups": 1, "min_kept": 2, "parameters_per_expert": expert}
    assert all(layer.items() <= each.items() for each in found["layers"])
    # 75% is the largest possible, and comes once.
    assert [(each["sparsity"], each["removed_experts"]) for each in found["outlooks"]] == [
        (0.25, 6), (0.5, 12), (0.75, 18),
    ]  # fmt: skip
    for each in found["outlooks"]:
        left = total - each["removed_experts"] * expert
        assert (each["parameters"], each["size_in_bytes"]) == (left, 2 * left)


def test_inspect_agrees_with_a_real_run(cli, checkpoint, data, tmp_path):
    out = tmp_path / "pruned"
    cli("prune", "-m", checkpoint, "-o", out, "--allocation", "uniform", "--sparsity", 0.5, *FAST, *data_options(data))
    outlook = inspect_model(checkpoint).outlooks[1]
    assert outlook.parameters == PruningResult.load(out).parameters["after"]
    assert outlook.size_in_bytes == stored_bytes(out) == inspect_model(out).size_in_bytes


def test_inspect_prints_a_table(cli, checkpoint):
    code, printed, _ = cli("inspect", "-m", checkpoint)
    assert code == 0
    lines = [line.split() for line in printed.splitlines()]
    assert ["0-2", "8", "2", "1", "2", "2.34K"] in lines
    assert any(line[:5] == ["75.0%", "(largest)", "18", "of", "24"] for line in lines)


def test_inspect_reads_no_weights(checkpoint, tmp_path):
    (tmp_path / "config.json").write_text((checkpoint / "config.json").read_text())
    assert dataclasses.replace(inspect_model(tmp_path), model="") == dataclasses.replace(
        inspect_model(checkpoint), model=""
    )


def test_inspect_measures_a_model(cli, checkpoint, data):
    given = ["inspect", "-m", checkpoint, "--measure", "--calibration-dataset", data, "--sequence-length", "16"]
    code, printed, error = cli(*given, "--device-map", "none", "--dtype", "float32", "--seed", "3")
    assert code == 0, error
    lines = [line.split() for line in printed.splitlines()]
    assert ["0-2", "8", "2", "1", "2", "2.34K"] in lines, "what follows from the config comes first"
    code, printed, _ = cli(*given, "--device-map", "none", "--dtype", "float32", "--seed", "3", "--json")
    found = json.loads(printed)
    measured = found["measured"]
    assert found["model_type"] == "olmoe" and measured["criterion"] == "frequency"
    assert [each["removed_experts"] for each in measured["outlooks"]] == [3, 6, 9, 12, 15, 18]
    for each in measured["outlooks"]:
        row = [f"{each['sparsity']:.1%}", str(each["removed_experts"]), f"{each['fitness']:.4f}"]
        assert [*row, f"{each['uniform']:.4f}"] in lines
    for layer in measured["layers"]:
        losses = [f"{layer['curve'][count]:.4f}" for count in ("2", "3")]
        shares = [f"{layer['busiest_quarter']:.0%}", f"{layer['entropy']:.0%}", str(layer["hardly_reached"])]
        assert [str(layer["index"]), *shares, *losses, f"{layer['curve']['4']:.4f}"] in lines


def test_options_of_a_measurement_need_it(cli, checkpoint):
    code, _, error = cli("inspect", "-m", checkpoint, "--criterion", "reap", "--sequence-length", "16")
    assert code == 2 and "--criterion, --sequence-length would have no effect: add --measure" in error
