# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The one mechanism behind `@register_criterion`, `@register_fitness`, `@register_strategy` and the like.

The tables that it fills are here too, and what is in them from the start: a name can be checked without torch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar


# Criteria made of statistics, and those measured by running the model; a name is in one of the two only.
CRITERIA: dict[str, Any] = {}
MEASURED_CRITERIA: dict[str, Any] = {}
FITNESSES: dict[str, Any] = {}
STRATEGIES: dict[str, Any] = {}
# What is in them once the room that makes it is imported.
BUILT_IN_CRITERIA = (
    "esap", "reconstruction", "reap", "reap_renormalised", "frequency", "ean", "seer", "man", "msan"
)  # fmt: skip
BUILT_IN_FITNESSES = ("esap", "kl", "reverse_kl", "nll", "sampled_acceptance")
BUILT_IN_STRATEGIES = ("guided", "evolution", "gradient", "gradient_guided", "guided_gradient")
# What the columns of data may be: the roles in all layouts of rows that come with the package.
BUILT_IN_ROLES = (
    "text", "messages", "conversations", "prompt", "response", "completion", "instruction", "input", "output",
    "images", "image", "system", "system_prompt", "system_message", "history", "tools", "functions",
)  # fmt: skip

Registered = TypeVar("Registered", bound=Callable[..., Any])

# Each decorator says what it registers, in `help` and in the API reference.
_DOCSTRING = """Register a {words}: decorate its function with `@register_{kind}("name")`.

    Args:
        name: The name by which `EvoESAPConfig({option}=name)` then finds the function.

    Returns:
        The decorator; it returns the function unchanged.

    Raises:
        ValueError: The name is empty or reserved, or the decorator finds that another function has it.
    """


def make_register(
    table: dict[str, Any],
    kind: str,
    option: str | None = None,
    apart_from: Mapping[str, Any] | None = None,
    reserved: Collection[str] = (),
) -> Callable[[str], Callable[[Registered], Registered]]:
    """Return a decorator that puts a function into `table` under a name.

    Args:
        table: Takes the functions by name.
        kind: What they are, as in the name of the decorator, such as "criterion".
        option: The field of the configuration that takes their names; by default it is called like the kind.
        apart_from: Another table for that field, whose names are taken too.
        reserved: Names that mean something else in that field.

    Raises:
        ValueError: The name is empty, reserved, or another function has it (the decorator raises).
    """
    words = kind.replace("_", " ")

    def register(name: str) -> Callable[[Registered], Registered]:
        if not name or not isinstance(name, str):
            raise ValueError(f"A {words} needs a non-empty string as its name, not {name!r}.")
        if name in reserved:
            raise ValueError(f"{option or kind}={name!r} has a meaning of its own; choose another name for a {words}.")

        def add(function: Registered) -> Registered:
            taken = table.get(name)
            # Running a notebook cell or a reload registers the same function once more.
            if taken is not None and _origin(taken) == _origin(function):
                taken = None
            other = taken or (apart_from or {}).get(name)
            if other is not None:
                raise ValueError(f"The {words} {name!r} exists already ({other.__module__}); choose another name.")
            table[name] = function
            return function

        return add

    register.__name__ = register.__qualname__ = f"register_{kind}"
    register.__doc__ = _DOCSTRING.format(kind=kind, words=words, option=option or kind)
    return register


def _origin(function: Callable[..., Any]) -> tuple[str, str]:
    return function.__module__, function.__qualname__
