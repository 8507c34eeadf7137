# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Presets: values of many options under one name."""

from __future__ import annotations

from typing import Any

from .suggestion import did_you_mean, shown


PRESETS: dict[str, dict[str, Any]] = {
    # EvoESAP, arXiv 2603.06003, as its search ran on OLMoE.
    "paper": {
        "criterion": "reap",
        "allocation": "evolution",
        "fitness": "esap",
        "goal": "mean",
        "calibration_dataset": "theblackcat102/evol-codealpaca-v1",
        "calibration_samples": 1024,
        "search_dataset": "allenai/tulu-3-sft-personas-math",
        "search_samples": 64,
        "sequence_length": 4096,
        "population_size": 32,
        "num_elites": 4,
        "generations": 50,
        "max_delta": 4,
        "max_mutations": 3,
        "racing": False,
        "max_evaluations": None,
        "max_minutes": None,
        "patience": None,
        # The paper returns what it finds.
        "guard": False,
    },
}


def preset_options(name: str | None) -> dict[str, Any]:
    """The options of a preset; none for `None`.

    Args:
        name: A name in `PRESETS`.

    Raises:
        ValueError: There is no such preset.
    """
    if name is None:
        return {}
    if not isinstance(name, str) or name not in PRESETS:
        remedy = did_you_mean(str(name), PRESETS, f"choose one of {', '.join(PRESETS)}.")
        raise ValueError(f"There is no preset {shown(name)}; {remedy}")
    return dict(PRESETS[name])
