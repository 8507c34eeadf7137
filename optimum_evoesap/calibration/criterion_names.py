# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The two tables of criteria by name: those made of statistics, and those measured by running the model."""

from __future__ import annotations

from typing import Any


# Filled by `@register_criterion` and `@register_measured_criterion`; here, because a name is in one of them only.
CRITERIA: dict[str, Any] = {}
MEASURED_CRITERIA: dict[str, Any] = {}
# Stands for the one of these whose order scores best at the budget; of equal ones the first.
AUTO = "auto"
AUTO_CRITERIA = (
    "esap", "reconstruction", "reap", "reap_renormalised", "frequency", "ean", "seer", "man", "msan"
)  # fmt: skip


def is_measured(name: str) -> bool:
    """Whether a criterion is measured by running the model, and not made of statistics.

    Args:
        name: Name of a criterion.

    Raises:
        ValueError: There is no criterion of that name.
    """
    if name not in CRITERIA and name not in MEASURED_CRITERIA:
        known = ", ".join((*CRITERIA, *MEASURED_CRITERIA))
        raise ValueError(f"There is no criterion {name!r}: choose one of {known}, or register your own.")
    return name in MEASURED_CRITERIA
