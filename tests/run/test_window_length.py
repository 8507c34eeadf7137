# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Windows are no longer than what the model reads, and a warning says so where more was asked for."""

from __future__ import annotations

import logging

import pytest
import torch

from optimum_evoesap import EvoESAPConfig, MoEPruner, measure_prunability
from optimum_evoesap.data import DataError, TokenizedData
from optimum_evoesap.models.sparse_model import SparseModel
from tests.model_matrix import make_model, random_tokens


def olmoe(positions):
    model = make_model("olmoe")
    model.config.max_position_embeddings = positions
    return model


@pytest.mark.parametrize(("options", "level"), [({}, logging.INFO), ({"sequence_length": 5000}, logging.WARNING)])
def test_longer_windows_are_cut_with_a_word(options, level, caplog):
    with caplog.at_level(logging.INFO, "optimum_evoesap"):
        pruner = MoEPruner(olmoe(48), EvoESAPConfig(sparsity=0.5, **options))
    assert pruner.config.sequence_length == 48
    [record] = [each for each in caplog.records if "sequence_length" in each.message]
    assert record.levelno == level
    assert "the 48 tokens that this model reads" in record.message


def test_what_the_model_reads_is_left_as_it_is(caplog):
    with caplog.at_level(logging.INFO, "optimum_evoesap"):
        pruner = MoEPruner(olmoe(8192), EvoESAPConfig(sparsity=0.5))
        short = MoEPruner(olmoe(48), EvoESAPConfig(sparsity=0.5, sequence_length=16))
    assert (pruner.config.sequence_length, short.config.sequence_length) == (4096, 16)
    assert "sequence_length" not in caplog.text


def test_it_is_said_once_before_weights_are_read_and_data_are_cut(tmp_path, caplog):
    olmoe(24).save_pretrained(tmp_path)
    config = EvoESAPConfig(sparsity=0.5, allocation="uniform", criterion="frequency", sequence_length=100)
    pruner = MoEPruner.from_pretrained(tmp_path, config)
    assert caplog.text.count("windows hold 24 tokens") == 1
    pruner.calibrate([{"input_ids": tokens} for tokens in random_tokens(4, 60, seed=1)])
    assert pruner._inputs.get("calibration").sequences[0]["input_ids"].shape == (24,)


def test_a_measurement_takes_as_many_windows_as_hold_its_tokens():
    config = EvoESAPConfig(criterion="frequency", batch_size=8)
    rows = [{"input_ids": tokens} for tokens in random_tokens(60, 64, seed=1)]
    found = measure_prunability(SparseModel(olmoe(64)), config, rows, sparsities=(0.5,))
    assert found.tokens["outlooks"] == 20 * 64  # a third of the rows, as for 4096 tokens a window were too few


def test_windows_made_elsewhere_are_refused_unless_each_document_fits():
    pruner = MoEPruner(olmoe(48), EvoESAPConfig(sparsity=0.5, criterion="frequency"))
    tokens, positions = random_tokens(2, 60, seed=1), torch.arange(60) % 30
    labels = tokens.clone()
    windows = [{"input_ids": each, "labels": label} for each, label in zip(tokens, labels)]
    with pytest.raises(DataError, match="a window has 60 positions, and OlmoeForCausalLM was made for 48"):
        pruner.calibrate(TokenizedData(windows, "windows"))
    pruner.calibrate(TokenizedData([each | {"position_ids": positions} for each in windows], "windows"))
