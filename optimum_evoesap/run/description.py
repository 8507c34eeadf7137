# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`Description`]: what a value is and what its code does, in words that are the same in every process."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
from collections import deque
from collections.abc import Iterator
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import partial, partialmethod
from operator import attrgetter, itemgetter, methodcaller
from pathlib import PurePath
from re import Pattern
from types import CodeType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from .names import OF_PYTHON, cell_content, held_by, is_library, is_of, name_of, names_in
from .tensor_contents import module_content, tensor_content


_PLAIN = (int, float, complex, str, bytes, bool, type(None), type(Ellipsis))
_TOLD_BY_REPR = (range, PurePath, Decimal, Fraction, torch.dtype, torch.device, torch.layout, torch.memory_format)

# What lies deeper is described afterwards, so that no value is too deep for Python.
_DEEPEST = 30


class Description:
    """Describes values by nested tuples of plain values, without an address or an order that hashing gave."""

    def __init__(self) -> None:
        # What is being or was described, in the order met, so that circles end. Kept, so that no id is used again.
        self._met: dict[int, tuple[int, Any]] = {}
        self._later: deque[Any] = deque()
        self._depth = 0

    def whole(self, value: Any) -> list[Any]:
        """The description of any value, and then of what lay too deep in it.

        Args:
            value: Anything.
        """
        parts = [self._of(value)]
        while self._later:
            parts.append(self._opened(self._later.popleft()))
        return parts

    def _of(self, value: Any) -> Any:
        if type(value) in _PLAIN:
            return (type(value).__name__, repr(value))
        if type(value) in (tuple, frozenset) and all(type(item) in _PLAIN for item in value):
            return self._opened(value)  # whether two of them are one object is nobody's choice
        if id(value) in self._met:
            return ("met", self._met[id(value)][0])
        self._met[id(value)] = (len(self._met), value)
        if self._depth == _DEEPEST:
            self._later.append(value)
            return ("later", len(self._met))
        return self._opened(value)

    def _opened(self, value: Any) -> tuple[Any, ...]:
        self._depth += 1
        try:
            return (name_of(type(value)), *self._content(value))
        finally:
            self._depth -= 1

    def _all(self, *values: Any) -> tuple[Any, ...]:
        return tuple([self._of(value) for value in values])

    def _content(self, value: Any) -> tuple[Any, ...]:
        if isinstance(value, torch.Tensor):
            return tensor_content(value)
        if isinstance(value, (np.ndarray, np.generic)):
            return self._array(np.asarray(value))
        if isinstance(value, CodeType):
            return self._code(value)
        if isinstance(value, FunctionType):
            return self._function(value)
        if isinstance(value, type):
            return self._class(value)
        if isinstance(value, (staticmethod, classmethod)):
            return self._all(value.__func__)
        if isinstance(value, property):
            return self._all(value.fget, value.fset, value.fdel)
        if isinstance(value, MethodType):
            return self._all(value.__func__, value.__self__)
        if isinstance(value, (partial, partialmethod)):
            return self._all(value.func, value.args, value.keywords)
        return self._collection(value)

    def _collection(self, value: Any) -> tuple[Any, ...]:
        if isinstance(value, Enum):
            return self._all(str(value.name), value.value)
        if isinstance(value, (tuple, list, deque)):
            return self._all(*value)
        if isinstance(value, (set, frozenset)):
            return tuple(sorted(self._apart(item) for item in value))
        if isinstance(value, (dict, MappingProxyType)):
            ordered = sorted(value.items(), key=lambda item: self._place(item[0]))
            return tuple([self._all(*item) for item in ordered])
        if isinstance(value, ModuleType):
            return (str(value.__name__),)
        if isinstance(value, bytearray):
            return (value.hex(),)
        if isinstance(value, slice):
            return self._all(value.start, value.stop, value.step)
        if isinstance(value, Pattern):
            return self._all(value.pattern, value.flags)
        if isinstance(value, (itemgetter, attrgetter, methodcaller)):
            return self._all(*value.__reduce__())
        if isinstance(value, _TOLD_BY_REPR):
            return (repr(value),)
        for kind in (int, float, complex, str, bytes):
            if isinstance(value, kind):
                return (kind.__repr__(value),)
        return self._object(value)

    def _apart(self, value: Any) -> str:
        """For things without an order of their own: what one of them meets, the next has not met before it."""
        if type(value) in _PLAIN:
            return repr(self._of(value))
        description = Description()
        description._met = dict(self._met)
        return repr(description.whole(value))

    def _place(self, key: Any) -> str:
        return name_of(key) if isinstance(key, (FunctionType, type)) else self._apart(key)

    def _array(self, value: np.ndarray) -> tuple[Any, ...]:
        if value.dtype.hasobject:
            return self._all(value.shape, value.tolist())
        return (value.dtype.str, value.shape, hashlib.sha256(value.tobytes()).hexdigest())

    def _code(self, code: CodeType) -> tuple[Any, ...]:
        arguments = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
        names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
        table = getattr(code, "co_exceptiontable", b"")
        return (code.co_code.hex(), table.hex(), arguments, names, *self._all(*code.co_consts))

    def _function(self, function: FunctionType) -> tuple[Any, ...]:
        cells = [cell_content(cell) for cell in function.__closure__ or ()]
        parts = (function.__code__, function.__defaults__, function.__kwdefaults__, cells, vars(function))
        return self._all(*parts, dict(self._globals(function)))

    def _globals(self, function: FunctionType) -> Iterator[tuple[str, Any]]:
        """What the code names in its own module; functions and classes of other modules by their names."""
        home = function.__globals__.get("__name__")
        for name in () if is_library(home) else sorted(names_in(function.__code__)):
            if name not in function.__globals__:
                continue
            value = function.__globals__[name]
            is_named_only = isinstance(value, (FunctionType, type)) and not is_of(value, home)
            yield name, name_of(value) if is_named_only else value

    def _class(self, value: type) -> tuple[Any, ...]:
        if is_library(value.__module__):
            return (name_of(value),)
        bases = [base if is_of(base, value.__module__) else name_of(base) for base in value.__bases__]
        return (name_of(value), *self._all(bases, {k: v for k, v in vars(value).items() if k not in OF_PYTHON}))

    def _object(self, value: Any) -> tuple[Any, ...]:
        """What can be called, a record of values, or of a class of the user's; others count by their type alone."""
        kind = type(value)
        if isinstance(value, nn.Module):
            plain = {name: item for name, item in vars(value).items() if type(item) in _PLAIN}
            forward = inspect.getattr_static(kind, "forward", None)
            return (*module_content(value), *self._all(kind, forward, plain))
        if not is_library(kind.__module__):
            return self._all(kind, held_by(value))
        if kind.__module__ != "functools" and not callable(value) and not dataclasses.is_dataclass(value):
            return ()
        name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
        return (name if isinstance(name, str) else "", *self._all(held_by(value)))
