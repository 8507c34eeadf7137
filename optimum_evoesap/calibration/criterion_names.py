# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The names of criteria: those made of statistics, and those measured by running the model."""

from __future__ import annotations

from ..registry import BUILT_IN_CRITERIA, CRITERIA, MEASURED_CRITERIA
from ..suggestion import did_you_mean


# Stands for the one of these whose order scores best at the budget; of equal ones the first.
AUTO = "auto"
AUTO_CRITERIA = BUILT_IN_CRITERIA


def is_measured(name: str) -> bool:
    """Whether a criterion is measured by running the model, and not made of statistics.

    Args:
        name: Name of a criterion.

    Raises:
        ValueError: There is no criterion of that name.
    """
    if name not in CRITERIA and name not in MEASURED_CRITERIA:
        known = (*CRITERIA, *MEASURED_CRITERIA)
        remedy = did_you_mean(str(name), known, f"choose one of {', '.join(known)}, or register your own.")
        raise ValueError(f"There is no criterion {name!r}: {remedy}")
    return name in MEASURED_CRITERIA
