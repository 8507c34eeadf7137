# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A digest of what a function does, by which an edit of it is seen where its name stays the same."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
from collections.abc import Callable, Iterator
from functools import partial
from types import CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import nn

from ..fitness.registry import FITNESSES, HIDDEN_FORMS
from .fingerprint import tensors_digest, weights_digest


_PLAIN = (int, float, complex, str, bytes, bool, type(None), type(Ellipsis))


def code_digest(function: Callable[..., Any]) -> str:
    """A sha256 of a function's code, the same in every process.

    It follows the bytecode, constants, defaults and what is enclosed, and from there the functions, classes and plain
    constants of the same module that are named. Code of other modules counts by its name only.

    Args:
        function: A function, or any other object that can be called: what its `__call__` does and what it holds.
    """
    return hashlib.sha256(repr(_Description().of(function)).encode("utf-8", "backslashreplace")).hexdigest()


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


class _Description:
    """Describes values by nested tuples of plain values, without an address or an order that hashing gave."""

    def __init__(self) -> None:
        # What is being or was described, in the order met, so that circles end. Kept, so that no id is used again.
        self._met: dict[int, tuple[int, Any]] = {}

    def of(self, value: Any) -> Any:
        """The description of any value."""
        if type(value) in _PLAIN:
            return (type(value).__name__, repr(value))
        if id(value) in self._met:
            return ("met", self._met[id(value)][0])
        self._met[id(value)] = (len(self._met), value)
        return (_name(type(value)), *self._content(value))

    def _apart(self) -> _Description:
        """For things without an order of their own: what one of them meets, the next has not met before it."""
        description = _Description()
        description._met = dict(self._met)
        return description

    def _content(self, value: Any) -> tuple[Any, ...]:
        if isinstance(value, (tuple, list)):
            return tuple(self.of(item) for item in value)
        if isinstance(value, (set, frozenset)):
            return tuple(sorted(repr(self._apart().of(item)) for item in value))
        if isinstance(value, dict):
            return self._by_name(value)
        if isinstance(value, torch.Tensor):
            return (tensors_digest({"": value if value.layout == torch.strided else value.to_dense()}),)
        if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
            return (value.dtype.str, value.shape, hashlib.sha256(value.tobytes()).hexdigest())
        if isinstance(value, CodeType):
            return self._code(value)
        if isinstance(value, FunctionType):
            return self._function(value)
        if isinstance(value, MethodType):
            return (self.of(value.__func__), self.of(value.__self__))
        if isinstance(value, partial):
            return (self.of(value.func), self.of(value.args), self.of(value.keywords))
        if isinstance(value, type):
            return (_name(value),)
        return self._object(value)

    def _function(self, function: FunctionType) -> tuple[Any, ...]:
        cells = [_cell_content(cell) for cell in function.__closure__ or ()]
        named = dict(self._globals(function))
        parts = (function.__code__, function.__defaults__, function.__kwdefaults__, cells, vars(function), named)
        return tuple(self.of(part) for part in parts)

    def _globals(self, function: FunctionType) -> Iterator[tuple[str, Any]]:
        """What the code names in its own module: constants, functions, and the methods of classes."""
        for name in sorted(_names(function.__code__)):
            value = function.__globals__.get(name)
            if isinstance(value, type) and value.__module__ == function.__globals__.get("__name__"):
                yield name, {key: item for key, item in vars(value).items() if isinstance(item, FunctionType)}
            elif isinstance(value, FunctionType):
                yield name, value if value.__globals__ is function.__globals__ else _name(value)
            elif _is_constant(value):
                yield name, value

    def _code(self, code: CodeType) -> tuple[Any, ...]:
        arguments = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
        names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
        table = getattr(code, "co_exceptiontable", b"")
        return (code.co_code.hex(), table.hex(), arguments, names, *(self.of(value) for value in code.co_consts))

    def _object(self, value: Any) -> tuple[Any, ...]:
        """What can be called, or is a record of values; others count by their type alone."""
        if not callable(value) and not dataclasses.is_dataclass(value):
            return ()
        called = self.of(inspect.getattr_static(type(value), "forward" if _is_module(value) else "__call__", None))
        if _is_module(value):
            return (called, weights_digest(value))
        held, name = getattr(value, "__dict__", None), getattr(value, "__qualname__", None)
        return (called, name if isinstance(name, str) else "", self._by_name(held) if isinstance(held, dict) else ())

    def _by_name(self, values: dict[Any, Any]) -> tuple[Any, ...]:
        named = {repr(self._apart().of(key)): value for key, value in values.items()}
        return tuple((name, self.of(named[name])) for name in sorted(named))


def _is_module(value: Any) -> bool:
    return isinstance(value, nn.Module)


def _is_constant(value: Any) -> bool:
    return isinstance(value, (int, float, str)) or (isinstance(value, tuple) and all(map(_is_constant, value)))


def _names(code: CodeType) -> set[str]:
    """The names in a piece of code and in what is defined inside it."""
    inner = [value for value in code.co_consts if isinstance(value, CodeType)]
    return set(code.co_names).union(*map(_names, inner))


def _cell_content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return ()  # not set yet


def _name(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"
