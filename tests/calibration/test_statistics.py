# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Statistics on the disk."""

from __future__ import annotations

import pytest
import torch

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
    with pytest.raises(ValueError, match="another release: they have no squared_norm_sum; calibrate again"):
        ExpertStatistics.from_tensors(tensors, metadata)
