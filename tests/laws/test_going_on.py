# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Work over many windows that is broken off and goes on gives the bits of what is not, over every architecture."""

from __future__ import annotations

import pytest
import torch

from optimum_evoesap.calibration.leave_one_out import leave_one_out
from optimum_evoesap.calibration.measured import Measurement
from optimum_evoesap.calibration.observer import observe_experts
from optimum_evoesap.calibration.reconstruction import reconstruction
from tests.model_matrix import DEVICE, MODEL_TYPES, make_model, random_tokens, sparse_model_of


class Killed(Exception):
    pass


class Kept:
    """Keeps each part, and kills the work at one of them."""

    def __init__(self, parts_left=None, part=None):
        self.parts_left, self.part, self.num_kept = parts_left, part, 0

    def found(self, read):
        return None if self.part is None else read(self.part)

    def keep(self, make):
        tensors, values = make()
        self.part = {name: tensor.clone() for name, tensor in tensors.items()}, values
        self.num_kept += 1
        if self.num_kept == self.parts_left:
            raise Killed


def batches(windows=5, size=2):
    tokens = random_tokens(windows, 24).to(DEVICE)
    return [{"input_ids": part, "labels": part} for part in tokens.split(size)]


def broken_off(work, parts):
    """What work gives that is killed at its `parts`-th part and goes on, and the parts that were kept then."""
    kept = Kept(parts)
    with pytest.raises(Killed):
        work(kept)
    again = Kept(part=kept.part)
    return work(again), again.num_kept


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_statistics_that_go_on_are_the_same(model_type):
    sparse_model = sparse_model_of(make_model(model_type))
    work = lambda kept: observe_experts(sparse_model, batches(), progress=False, unfinished=kept)  # noqa: E731
    whole = work(Kept()).to_tensors()
    found, num_kept = broken_off(work, 2)
    assert num_kept == 1, "the other two batches are not run again"
    assert_same(found.to_tensors()[0], whole[0])
    assert found.to_tensors()[1] == whole[1]


@pytest.mark.parametrize("model_type", ["olmoe", "mixtral", "deepseek_v3", "jetmoe"])
@pytest.mark.parametrize("measure", [leave_one_out, reconstruction], ids=["esap", "reconstruction"])
def test_measured_criteria_that_go_on_are_the_same(measure, model_type):
    sparse_model = sparse_model_of(make_model(model_type))
    statistics = observe_experts(sparse_model, batches(), progress=False)

    def work(kept, done):
        measurement = Measurement(sparse_model, batches(), statistics, progress=False, unfinished=kept)
        # Layers that are done are kept as such.
        left = [index for index in sparse_model.indices if index not in done]
        for index, scores in measure(measurement, left):
            done[index] = scores
        return {str(index): done[index] for index in sparse_model.indices}

    whole = work(Kept(), {})
    before = {}
    found, _ = broken_off(lambda kept: work(kept, before), 2)
    assert_same(found, whole)


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name in expected:
        assert torch.equal(found[name], expected[name]), name
