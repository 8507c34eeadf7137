# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Statistics on the disk."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from optimum_evoesap.calibration.statistics import ExpertStatistics, LayerStatistics


def test_statistics_survive_the_disk(tmp_path):
    sums = LayerStatistics.zeros(4)
    sums.routed_tokens += torch.tensor([1, 2, 3, 4])
    sums.weight_sum += torch.rand(4, dtype=torch.float64)
    ExpertStatistics({3: sums, 12: LayerStatistics.zeros(2)}, 10).save(tmp_path / "s.safetensors")
    loaded = ExpertStatistics.load(tmp_path / "s.safetensors")
    assert loaded.num_tokens == 10 and list(loaded.layers) == [3, 12]
    assert torch.equal(loaded.layers[3].weight_sum, sums.weight_sum)
    assert torch.equal(loaded.layers[3].routed_tokens, sums.routed_tokens)


def test_statistics_of_another_release_are_refused():
    tensors, metadata = ExpertStatistics({3: LayerStatistics.zeros(4)}, 10).to_tensors()
    del tensors["3.squared_norm_sum"]
    with pytest.raises(ValueError, match="another release: they have no squared_norm_sum of layer 3; calibrate again"):
        ExpertStatistics.from_tensors(tensors, metadata)


def test_statistics_of_an_earlier_release_do_not_list_their_layers():
    tensors, metadata = ExpertStatistics({3: LayerStatistics.zeros(4)}, 10).to_tensors()
    del metadata["layers"]
    assert list(ExpertStatistics.from_tensors(tensors, metadata).layers) == [3]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("3.norm_sum", torch.zeros(5, dtype=torch.float64), r"3.norm_sum has torch.float64 numbers of shape \(5,\)"),
        ("3.norm_sum", torch.zeros(4), "3.norm_sum has torch.float32"),
        ("3.norm_sum", torch.zeros(4, 1, dtype=torch.float64), r"shape \(4, 1\)"),
        ("3.norm_max", torch.full((4,), float("nan"), dtype=torch.float64), "3.norm_max holds NaN"),
        ("7.norm_max", torch.zeros(4, dtype=torch.float64), "layers 3,7,12, and of 3,12"),
        ("3.other", torch.zeros(4, dtype=torch.float64), "'3.other' is none of these"),
        ("x.norm_max", torch.zeros(4, dtype=torch.float64), "'x.norm_max' is none of these"),
        ("03.norm_max", torch.zeros(4, dtype=torch.float64), "'03.norm_max' is none of these"),
    ],
)
def test_damaged_statistics_are_refused_by_name(tmp_path, name, value, message):
    tensors, metadata = ExpertStatistics({3: LayerStatistics.zeros(4), 12: LayerStatistics.zeros(2)}, 10).to_tensors()
    save_file(tensors | {name: value}, tmp_path / "s.safetensors", metadata)
    with pytest.raises(ValueError, match=f"s.safetensors holds no statistics of experts: .*{message}"):
        ExpertStatistics.load(tmp_path / "s.safetensors")


def test_statistics_with_missing_layers_are_refused():
    statistics = ExpertStatistics({3: LayerStatistics.zeros(4), 12: LayerStatistics.zeros(2)}, 10)
    tensors, metadata = statistics.to_tensors()
    with pytest.raises(ValueError, match="sums of the layers 3, and of 3,12 there should be"):
        ExpertStatistics.from_tensors({name: each for name, each in tensors.items() if name[0] == "3"}, metadata)
    statistics.check_layers({3: 4, 12: 2})
    with pytest.raises(ValueError, match="hold 0 experts of layer 7, and the model has 4"):
        statistics.check_layers({3: 4, 7: 4, 12: 2})
    with pytest.raises(ValueError, match="hold 2 experts of layer 12, and the model has 4"):
        statistics.check_layers({3: 4, 12: 4})


@pytest.mark.parametrize("num_tokens", [None, "", "-1", "1e3", "9" * 5000])
def test_tokens_are_a_whole_number(num_tokens):
    tensors, metadata = ExpertStatistics({3: LayerStatistics.zeros(4)}, 10).to_tensors()
    metadata = {name: value for name, value in (metadata | {"num_tokens": num_tokens}).items() if value is not None}
    with pytest.raises(ValueError, match="num_tokens is"):
        ExpertStatistics.from_tensors(tensors, metadata)


def test_what_holds_no_statistics(tmp_path):
    for content in (b"", b"not tensors", b"\xff" * 100):
        (tmp_path / "s.safetensors").write_bytes(content)
        with pytest.raises(ValueError, match="s.safetensors holds no statistics"):
            ExpertStatistics.load(tmp_path / "s.safetensors")
    with pytest.raises(ValueError, match="is no file"):
        ExpertStatistics.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        ExpertStatistics.load(tmp_path / "absent")
