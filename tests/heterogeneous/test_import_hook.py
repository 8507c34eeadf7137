# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Checkpoints with layers of different size in a fresh process, with and without the package."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

import optimum_evoesap  # noqa: F401  (lets transformers build the pruned checkpoints)
from tests.heterogeneous.helpers import TOKENS, logits


FRESH_PROCESS = """
import sys, torch
{statement}
folder, expected = sys.argv[1], torch.load(sys.argv[2], weights_only=True)
with torch.no_grad():
    logits = {loader}.from_pretrained(folder)(expected["tokens"]).logits
assert torch.equal(logits, expected["logits"]), (logits - expected["logits"]).abs().max()
"""


@pytest.mark.parametrize(
    "statement,loader",
    [
        ("import optimum_evoesap\nfrom transformers import AutoModelForCausalLM", "AutoModelForCausalLM"),
        ("from transformers import AutoModelForCausalLM\nimport optimum_evoesap", "AutoModelForCausalLM"),
        ("from optimum_evoesap import EvoESAPModelForCausalLM", "EvoESAPModelForCausalLM"),
    ],
    ids=["import-first", "import-last", "own-class"],
)
def test_reload_in_a_fresh_process(pruned_olmoe, statement, loader, tmp_path):
    expected = tmp_path / "expected.pt"
    torch.save({"tokens": TOKENS, "logits": logits(pruned_olmoe["model"])}, expected)
    code = FRESH_PROCESS.format(statement=statement, loader=loader)
    done = subprocess.run(
        [sys.executable, "-c", code, str(pruned_olmoe["folder"]), str(expected)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_without_the_package_transformers_refuses(pruned_olmoe):
    """The trap that the building step is for: stock transformers must not load such a checkpoint silently."""
    code = "import sys; from transformers import AutoModelForCausalLM as A; A.from_pretrained(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, str(pruned_olmoe["folder"])], capture_output=True, text=True)
    assert done.returncode != 0 and "AmbiguousGlobalPerLayerAttributeError" in done.stderr
