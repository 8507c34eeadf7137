# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Where code comes from, and what it names and holds."""

from __future__ import annotations

import sys
from types import CodeType, MemberDescriptorType
from typing import Any


# Code that the versions stand for, and values that change from process to process.
_LIBRARIES = {
    *sys.stdlib_module_names,
    *("accelerate", "datasets", "huggingface_hub", "numpy", "optimum", "safetensors", "scipy", "tokenizers", "torch"),
    *("torchao", "tqdm", "transformers", "triton"),
}

# What Python puts into each class: where it is written, in an order that hashing gave, or nothing that the code does.
OF_PYTHON = {
    *("__module__", "__dict__", "__weakref__", "__doc__", "__firstlineno__", "__static_attributes__"),
    *("__annotations__", "__annotate__", "__annotate_func__", "__annotations_cache__", "__abstractmethods__"),
}


def is_library(module: Any) -> bool:
    """Whether code is of Python or of a library that this package stands on.

    Args:
        module: Its `__module__`.
    """
    return str(module).partition(".")[0] in _LIBRARIES


def is_of(value: Any, module: Any) -> bool:
    """Whether a function or class was written in a module, decorated or not.

    Args:
        value: A function or class.
        module: The name of the module.
    """
    return module in (value.__module__, getattr(value, "__globals__", {}).get("__name__"))


def name_of(value: Any) -> str:
    """The full name of a function or class.

    Args:
        value: A function or class.
    """
    return f"{value.__module__}.{value.__qualname__}"


def names_in(code: CodeType) -> set[str]:
    """The names in a piece of code and in what is defined inside it.

    Args:
        code: The code of a function.
    """
    inner = [value for value in code.co_consts if isinstance(value, CodeType)]
    return set(code.co_names).union(*map(names_in, inner))


def cell_content(cell: Any) -> Any:
    """What a function encloses.

    Args:
        cell: One of its `__closure__`.
    """
    try:
        return cell.cell_contents
    except ValueError:
        return ()  # not set yet


def held_by(value: Any) -> dict[str, Any]:
    """The attributes of an object, those in slots too.

    Args:
        value: The object.
    """
    held = getattr(value, "__dict__", None)
    attributes = dict(held) if isinstance(held, dict) else {}
    for kind in type(value).__mro__:
        for name, slot in vars(kind).items():
            if isinstance(slot, MemberDescriptorType) and not is_library(kind.__module__):
                try:
                    attributes[name] = slot.__get__(value)
                except AttributeError:
                    pass  # not set yet
    return attributes
