# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The one mechanism behind `@register_criterion`, `@register_fitness` and `@register_strategy`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar


# The strategies of the search by name; here, because the configuration checks the names and the search stands on it.
STRATEGIES: dict[str, Any] = {}

Registered = TypeVar("Registered", bound=Callable[..., Any])

# Each decorator says what it registers, in `help` and in the API reference.
_DOCSTRING = """Register a {kind}: decorate its function with `@register_{kind}("name")`.

    Args:
        name: The name by which `EvoESAPConfig({kind}=name)` then finds the function.

    Returns:
        The decorator; it returns the function unchanged.

    Raises:
        ValueError: The name is empty, or the decorator finds that another function has it.
    """


def make_register(table: dict[str, Any], kind: str) -> Callable[[str], Callable[[Registered], Registered]]:
    """Return a decorator that puts a function into `table` under a name.

    Args:
        table: Takes the functions by name.
        kind: What they are, for messages, such as "criterion".

    Raises:
        ValueError: The name is empty or another function has it (the decorator raises).
    """

    def register(name: str) -> Callable[[Registered], Registered]:
        if not name or not isinstance(name, str):
            raise ValueError(f"A {kind} needs a non-empty string as its name, not {name!r}.")

        def add(function: Registered) -> Registered:
            taken = table.get(name)
            # Running a notebook cell or a reload registers the same function once more.
            if taken is not None and (taken.__module__, taken.__qualname__) != (
                function.__module__,
                function.__qualname__,
            ):
                raise ValueError(f"The {kind} {name!r} exists already ({taken.__module__}); choose another name.")
            table[name] = function
            return function

        return add

    register.__name__ = register.__qualname__ = f"register_{kind}"
    register.__doc__ = _DOCSTRING.format(kind=kind)
    return register
