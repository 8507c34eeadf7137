# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A digest of what a function does, by which an edit of it is seen where its name stays the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from ..fitness.registry import FITNESSES, HIDDEN_FORMS
from .description import Description


def code_digest(function: Callable[..., Any]) -> str:
    """A sha256 of a function's code, the same in every process.

    It follows the bytecode, constants, defaults and what is enclosed, and from there all that is named and of the same
    module: functions, classes with all that they define and inherit in it, and values, tensors too. Functions and
    classes of other modules count by their names only, and so do objects of libraries that cannot be called. A value
    counts as it is when the digest is taken, so one that the function itself changes makes saved work be done again.

    Args:
        function: A function, or any other object that can be called: what its `__call__` does and what it holds.
    """
    return hashlib.sha256(repr(Description().whole(function)).encode("utf-8", "backslashreplace")).hexdigest()


def fitness_digests(name: str) -> list[str]:
    """Digests of the code of a fitness and of its hidden form, if any, which is what the scorer then takes.

    Args:
        name: A name in `FITNESSES`.
    """
    fitness = FITNESSES[name]
    digests = [code_digest(fitness)]
    if fitness in HIDDEN_FORMS:
        digests.append(code_digest(HIDDEN_FORMS[fitness]))
    return digests
