# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Results of runs that did not happen, and the parts of the cards that are written for them."""

from __future__ import annotations

import dataclasses
import re

from huggingface_hub import ModelCard

from optimum_evoesap.reports.result import PruningResult


BASE = "allenai/OLMoE-1B-7B-0125-Instruct"
CODE = "theblackcat102/evol-codealpaca-v1"
MATH = "allenai/tulu-3-sft-personas-math"
CONFIG = {
    "sparsity": 0.25,
    "seed": 7,
    "allocation": "evolution",
    "calibration_dataset": CODE,
    "search_dataset": f"{MATH}:64",
    "columns": None,
}

SEARCHED = PruningResult(
    base_model=BASE,
    model_type="olmoe",
    criterion="reap",
    fitness="esap",
    sparsity=0.25,
    budget=6,
    sparse_layers=[1, 2, 5],
    num_experts=[8, 8, 8],
    allocation=[4, 2, 0],
    kept_experts={1: [0, 1, 2, 3], 2: [0, 1, 2, 3, 4, 5], 5: [0, 1, 2, 3, 4, 5, 6, 7]},
    scores={"best": 0.93126, "uniform": 0.91, "holdout_best": 0.9301, "holdout_uniform": 0.9052},
    interval=[0.0108, 0.039],
    beats_uniform=True,
    stopped_because="the strategy has no more to ask",
    parameters={"before": 6919161856, "after": 5307768832},
    size_in_bytes={"before": 13838323712, "after": 815537664},
    data={
        "calibration": {
            "description": f"{CODE} (train), 1024 windows of 4096 tokens",
            "fingerprint": "c0ffee",
            "sequences": 1024,
            "tokens": 4194304,
            "scored_tokens": 4100000,
        },
        "search": {"description": f"{MATH}@abc", "fingerprint": "5eed", "sequences": 64, "tokens": 262144},
    },
    seed=7,
    versions={"torch": "2.13.0", "transformers": "5.23.0"},
)
UNIFORM = dataclasses.replace(
    SEARCHED,
    fitness=None,
    allocation=[2, 2, 2],
    kept_experts={layer: list(range(6)) for layer in (1, 2, 5)},
    scores={},
    interval=None,
    beats_uniform=None,
    stopped_because="",
    data={"calibration": SEARCHED.data["calibration"]},
)
GUARDED = dataclasses.replace(
    SEARCHED,
    allocation=[2, 2, 2],
    kept_experts={layer: list(range(6)) for layer in (1, 2, 5)},
    scores={
        "best": 0.91,
        "uniform": 0.91,
        "found": 0.93126,
        "holdout_best": 0.9052,
        "holdout_uniform": 0.9052,
        "holdout_found": 0.9101,
    },
    interval=[-0.0031, 0.0129],
    beats_uniform=False,
    is_guarded=True,
)


def section(card: ModelCard, title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", card.text, re.DOTALL | re.MULTILINE)
    assert found, f"no section {title!r}"
    return found[1]


def cells(text: str, first: str) -> list[str]:
    """The cells behind the row title `first` in a Markdown table."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return next(row[1:] for row in rows if row[0] == first)


def code_blocks(card: ModelCard, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", card.text, re.DOTALL | re.MULTILINE)
