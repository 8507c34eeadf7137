# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Pruned checkpoints, what their models answer before they are saved, and fresh processes to load them in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from optimum_evoesap.models.classes import loader_name
from optimum_evoesap.models.surgery import remove_experts
from tests.model_matrix import layers_of, make_model, random_kept, random_tokens, structure_of


ROOT = Path(__file__).parents[2]
TINY_MOE = ROOT / "examples" / "tiny_moe" / "checkpoint"
EXPECTED = "expected.pt"


def tiny_moe() -> PreTrainedModel:
    """The bundled, trained model."""
    return AutoModelForCausalLM.from_pretrained(TINY_MOE, dtype=torch.float32)


@torch.no_grad()
def logits(model: PreTrainedModel, tokens: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(0)  # for DiffusionGemma, which starts from random tokens
    return model(input_ids=tokens).logits


def save_pruned(folder: Path, name: str) -> PreTrainedModel:
    """Prune a model non-uniformly and save it, with what it answers in memory.

    Args:
        folder: Where to.
        name: "tiny_moe", which comes with its tokenizer, or a row of the model matrix.
    """
    model = tiny_moe() if name == "tiny_moe" else make_model(name)
    layers = layers_of(model)
    kept = random_kept(layers, 1)
    remove_experts(model, layers, structure_of(model), kept)
    model.save_pretrained(folder)
    if name == "tiny_moe":
        AutoTokenizer.from_pretrained(TINY_MOE).save_pretrained(folder)
    save_expected(folder, model, kept=kept)
    return model


def save_expected(folder: Path, model: PreTrainedModel, **more: Any) -> None:
    """Write next to a checkpoint what its model answers in memory, and `more`."""
    tokens = random_tokens(2, 24)
    expected = {"tokens": tokens, "logits": logits(model, tokens), "loader": loader_name(model)}
    torch.save(expected | more, folder / EXPECTED)


def run_fresh(code: str, *arguments: str | Path, environment: Mapping[str, str] | None = None, package: bool = True):
    """Run code in a process of its own and return its output.

    Args:
        code: Python code; `sys.argv[1:]` are the arguments.
        arguments: Its arguments.
        environment: Further environment variables.
        package: Whether optimum_evoesap can be imported there; where it cannot, trying to is an error.
    """
    header = "import sys, torch\ntorch.set_num_threads(1)\n"
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    if not package:
        header += "sys.modules['optimum_evoesap'] = None\n"
        paths = [str(Path(__file__).parent), *(path for path in sys.path if path and Path(path) != ROOT)]
    done = subprocess.run(
        [sys.executable, "-c", header + code, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)} | dict(environment or {}),
        capture_output=True,
        text=True,
        cwd=ROOT.root,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def read_errors(output: str) -> dict[str, str]:
    """The errors that a fresh process printed, by what it tried; empty where all went well."""
    return json.loads(output.rpartition("RESULT ")[2])


def show(errors: dict[str, str]) -> str:
    return "\n".join(f"{name}: {error}" for name, error in errors.items() if error)
