# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The models of the study: a few steps of training of each family, written and built again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from benchmarks.quality.checkpoint import load, save
from benchmarks.quality.families import FAMILIES, build
from optimum_evoesap.models.sparse_model import SparseModel


ROOT = Path(__file__).parents[2]
# The example's modules have names such as `evaluate`, so they are imported in a process of their own.
TRAIN = """
import sys, time, torch
from pathlib import Path
from benchmarks.quality import checkpoint
from benchmarks.quality.train_one import FAMILIES, parse_args, train_model

folder = Path(sys.argv[1])
tokens = torch.arange(3, 99).reshape(2, 48)
for family in FAMILIES:
    path = folder / f"{family}.safetensors"
    options = f"--seed 1 --deadline {time.time() + 600} --rows 2 --length 128 --steps 2 --workers 0 --device cpu"
    arguments = parse_args(["--family", family, "--output", str(path), "--report", "none", *options.split()])
    model, _, steps = train_model(arguments)
    assert steps == 2
    checkpoint.save(model, path)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.bfloat16())
        torch.save(model.eval()(tokens).logits, path.with_suffix(".pt"))
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    done = subprocess.run([sys.executable, "-c", TRAIN, str(folder)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(ROOT / "examples" / "tiny_moe" / "checkpoint")


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_trained_is_what_is_built_from_its_file(trained, tokenizer, family):
    """Training computes every expert for every token; the model that is built routes, so the last bits may differ."""
    path = trained / f"{family}.safetensors"
    model = load(path)
    with torch.no_grad():
        logits = model(torch.arange(3, 99).reshape(2, 48)).logits
    torch.testing.assert_close(logits, torch.load(path.with_suffix(".pt")), rtol=1e-5, atol=1e-5)
    torch.manual_seed(1)
    first = dict(build(family, tokenizer).named_parameters())
    # The scales of the norms are too coarse in bfloat16 to show two steps.
    matrices = {name: parameter for name, parameter in model.named_parameters() if parameter.ndim > 1}
    assert not any(torch.equal(matrix, first[name].bfloat16().float()) for name, matrix in matrices.items())
    assert path.stat().st_size < 15_000_000


def test_the_selection_bias_moves_and_is_kept_in_full(trained, tokenizer):
    model = load(trained / "deepseek_v3.safetensors")
    biases = [value for name, value in model.named_buffers() if "correction_bias" in name]
    assert len(biases) == 7 and all(bias.any() for bias in biases)
    assert any(not torch.equal(bias, bias.bfloat16().float()) for bias in biases)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_model_is_built_bit_for_bit(tmp_path, tokenizer, family):
    model = build(family, tokenizer).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.bfloat16())
    save(model, tmp_path / "model.safetensors")
    tokens = torch.arange(3, 99).reshape(2, 48)
    with torch.no_grad():
        assert torch.equal(load(tmp_path / "model.safetensors")(tokens).logits, model(tokens).logits)
    assert len(SparseModel(model).layers) >= 7


def test_the_command_trains_each_model_and_tells_of_it(tmp_path):
    command = [sys.executable, "-m", "benchmarks.quality.train", "--output", str(tmp_path), "--seeds", "1"]
    command += "--families deepseek_v3 --steps 1 --rows 2 --length 96 --heldout 1 --device cpu".split()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    models = json.loads((tmp_path / "train.json").read_text())["models"]
    assert list(models) == ["deepseek_v3-1"]
    for name, report in models.items():
        assert report["steps"] == 1 and report["exact_match"]["average"] in (0.0, 1.0)
        assert load(tmp_path / f"{name}.safetensors").num_parameters() == report["parameters"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{n}.safetensors" for n in models] + ["train.json"]


def test_a_training_that_fails_is_told_of_and_fails_the_command(tmp_path):
    command = [sys.executable, "-m", "benchmarks.quality.train", "--output", str(tmp_path), "--seeds", "0"]
    command += "--families olmoe --minutes 0.5 --reserve 60 --device cpu".split()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "seconds are left, of which saving and evaluation take 60" in done.stdout
    assert json.loads((tmp_path / "train.json").read_text())["models"]["olmoe-0"]["error"] == "ended with 1"
