# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""That docstrings are complete: every parameter is in `Args:`, every exception in `Raises:`, everything has a type."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import optimum_evoesap


PACKAGE = Path(optimum_evoesap.__file__).parent
# Modules and folders of which this does not hold yet.
EXEMPT = ("checkpoint/modeling_evoesap.py",)
MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))

Function = ast.FunctionDef | ast.AsyncFunctionDef


def missing_in(source: str) -> Iterator[str]:
    """What is missing in the docstrings and annotations of a module, one line for each."""
    module = ast.parse(source)
    private = {
        node.name: node for node in ast.walk(module) if isinstance(node, Function) and node.name.startswith("_")
    }
    for name, function, owner in public_functions(module.body):
        missing = [*missing_types(function), *missing_arguments(function, owner)]
        missing += missing_raises(function, owner, private)
        yield from (f"{name}: {each}" for each in missing)


def public_functions(body: list[ast.stmt], owner: ast.ClassDef | None = None) -> Iterator[tuple]:
    """Name, function and class of each function and method without an underscore; kernels in Triton are left out."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node.body, node)
        is_kernel = any("triton.jit" in ast.unparse(each) for each in getattr(node, "decorator_list", ()))
        if isinstance(node, Function) and not is_kernel:
            if not node.name.startswith("_") or node.name in ("__init__", "__call__"):
                yield f"{owner.name}.{node.name}" if owner else node.name, node, owner


def parameters_of(function: Function, is_method: bool) -> list[tuple[str, ast.arg]]:
    """Parameters as the docstring writes them, such as `**kwargs`, without `self` or `cls`."""
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    is_static = any(ast.unparse(each) == "staticmethod" for each in function.decorator_list)
    found = [(each.arg, each) for each in positional[is_method and not is_static :]]
    found += [(f"*{arguments.vararg.arg}", arguments.vararg)] if arguments.vararg else []
    found += [(each.arg, each) for each in arguments.kwonlyargs]
    return found + ([(f"**{arguments.kwarg.arg}", arguments.kwarg)] if arguments.kwarg else [])


def missing_types(function: Function) -> Iterator[str]:
    if function.returns is None and function.name != "__init__":
        yield "the type of what it returns"
    is_method = [each.arg for each in function.args.args[:1]] in (["self"], ["cls"])
    for name, argument in parameters_of(function, is_method):
        if argument.annotation is None:
            yield f"the type of {name}"


def missing_arguments(function: Function, owner: ast.ClassDef | None) -> Iterator[str]:
    wanted = [name for name, _ in parameters_of(function, is_method=owner is not None)]
    named = section(docstring(function, owner), "Args")
    if len(wanted) >= 2 or named:
        yield from (f"{name} in Args" for name in wanted if name not in named)
        yield from (f"{name} in Args is no parameter" for name in named if name not in wanted)


def missing_raises(function: Function, owner: ast.ClassDef | None, private: dict[str, Function]) -> Iterator[str]:
    helpers = [private[name] for name in called_in(function) if name in private]
    of_helpers = {name for helper in helpers for name in raised_in(helper)} - caught_in(function)
    named = section(docstring(function, owner), "Raises")
    yield from (f"{name} in Raises" for name in sorted({*raised_in(function)} | of_helpers) if name not in named)


def called_in(function: Function) -> Iterator[str]:
    """Names of the functions, and of the methods of the same object, that a function calls."""
    for node in own_nodes(function):
        called = node.func if isinstance(node, ast.Call) else None
        if isinstance(called, ast.Name):
            yield called.id
        elif isinstance(called, ast.Attribute) and ast.unparse(called.value) in ("self", "cls"):
            yield called.attr


def caught_in(function: Function) -> set[str]:
    """Classes of the exceptions that a function catches anywhere: what its helpers raise does not leave it."""
    return {name for node in own_nodes(function) if isinstance(node, ast.Try) for name in caught_by(node)}


def caught_by(block: ast.Try) -> set[str]:
    types = [handler.type for handler in block.handlers if handler.type]
    return {node.id for each in types for node in ast.walk(each) if isinstance(node, ast.Name)}


def raised_in(function: Function) -> Iterator[str]:
    """Classes of the exceptions that leave a function; one that it caught and raises again has none."""
    tries = [node for node in own_nodes(function) if isinstance(node, ast.Try)]
    inside = {id(node): each for each in tries for statement in each.body for node in ast.walk(statement)}
    for node in own_nodes(function):
        if isinstance(node, ast.Raise) and node.exc is not None:
            called = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            name = ast.unparse(called).rpartition(".")[2]
            if name[0].isupper() and not (id(node) in inside and name in caught_by(inside[id(node)])):
                yield name


def own_nodes(function: Function) -> Iterator[ast.AST]:
    """All nodes of a function but those of the functions and classes inside it."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, (*Function.__args__, ast.Lambda, ast.ClassDef)):
            waiting += ast.iter_child_nodes(node)


def docstring(function: Function, owner: ast.ClassDef | None) -> str:
    """The docstring; that of the class for a constructor, which has none of its own."""
    return ast.get_docstring(function) or (owner and function.name == "__init__" and ast.get_docstring(owner)) or ""


def section(text: str, title: str) -> list[str]:
    """The names that a section of a docstring explains."""
    found = re.search(rf"^{title}:\n((?:[ ]{{4}}.*\n|\n)*)", text + "\n", re.MULTILINE)
    return re.findall(r"^ {4}(?:\w+\.)*(\*{0,2}\w+):", found[1], re.MULTILINE) if found else []


@pytest.mark.parametrize("module", [name for name in MODULES if not name.startswith(EXEMPT)])
def test_docstrings_are_complete(module):
    missing = list(missing_in((PACKAGE / module).read_text()))
    assert not missing, f"{module} lacks:\n" + "\n".join(missing)


def test_each_exemption_is_of_something_that_is_there():
    assert not [each for each in EXEMPT if not any(name.startswith(each) for name in MODULES)]


COMPLETE = '''
def cut(text: str, *places: int, **options: str) -> str:
    """Cut a text.

    Args:
        text: What is cut.
        *places: Where.
        **options: How.

    Raises:
        ValueError: There is no such place.
        errors.CutError: It is too short.
        KeyError: An option is unknown.
    """
    _check(options)
    if not places:
        raise ValueError(text)
    raise CutError
'''
HELPER = "\n\ndef _check(options):\n    raise KeyError(options)\n"


@pytest.mark.parametrize(
    "text,missing",
    [
        ("        *places: Where.\n", "cut: *places in Args"),
        ("        ValueError: There is no such place.\n", "cut: ValueError in Raises"),
        ("        errors.CutError: It is too short.\n", "cut: CutError in Raises"),
        ("        KeyError: An option is unknown.\n", "cut: KeyError in Raises"),
        (" -> str", "cut: the type of what it returns"),
        (": str, *places", "cut: the type of text"),
    ],
)
def test_what_is_missing_is_told(text, missing):
    assert list(missing_in(COMPLETE + HELPER)) == []
    without = COMPLETE.replace(text, ", *places" if text == ": str, *places" else "")
    assert list(missing_in(without + HELPER)) == [missing]


def test_a_name_that_is_no_parameter_is_told():
    renamed = COMPLETE.replace("text: What", "words: What")
    assert list(missing_in(renamed + HELPER)) == ["cut: text in Args", "cut: words in Args is no parameter"]


@pytest.mark.parametrize(
    "body,missing",
    [
        ("try:\n        raise KeyError\n    except KeyError:\n        pass", []),
        ("try:\n        pass\n    except KeyError as error:\n        raise error", []),
        ("try:\n        pass\n    except KeyError:\n        raise KeyError from None", ["read: KeyError in Raises"]),
        ("def inside():\n        raise KeyError", []),
    ],
)
def test_only_exceptions_that_leave_the_function_need_a_name(body, missing):
    assert list(missing_in(f"def read() -> None:\n    {body}\n")) == missing
