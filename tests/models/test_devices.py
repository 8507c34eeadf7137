# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Devices that are not there are refused before the weights, and in one line."""

from __future__ import annotations

import pytest
import torch

from optimum_evoesap import EvoESAPConfig, MoEPruner
from optimum_evoesap.models.devices import check_devices
from tests.model_matrix import make_model


COUNT = torch.cuda.device_count()


@pytest.mark.parametrize(
    "device_map", [None, "auto", "balanced", "cpu", torch.device("cpu"), {"": "cpu", "lm": "disk"}]
)
def test_what_is_there_is_taken(device_map):
    check_devices(device_map)


@pytest.mark.skipif(COUNT == 0, reason="needs a GPU")
def test_the_gpus_that_are_there_are_taken():
    for device in ("cuda", f"cuda:{COUNT - 1}", COUNT - 1, {"": "cuda:0"}):
        check_devices(device)


@pytest.mark.parametrize(
    ("device_map", "message"),
    [
        (f"cuda:{COUNT}", f"device_map='cuda:{COUNT}': this machine has .*take auto"),
        (COUNT, "this machine has"),
        ({"model": "cpu", "lm_head": f"cuda:{COUNT}"}, "this machine has"),
        ("xla:0", "this machine has no xla"),
        ("cude:0", "'cude:0' names no device: did you mean 'cuda:0'"),
        ("gpu", "'gpu' names no device: give auto"),
        ("atuo", "did you mean 'auto'"),
    ],
)
def test_others_are_refused(device_map, message):
    with pytest.raises(ValueError, match=message):
        check_devices(device_map)


def test_a_model_is_not_loaded_for_a_device_that_is_not_there(tmp_path):
    make_model("olmoe").save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(ValueError, match="this machine has"):
        MoEPruner.from_pretrained(tmp_path, EvoESAPConfig(sparsity=0.5), device_map=f"cuda:{COUNT}")
