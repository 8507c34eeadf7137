# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Write docs/source/api.mdx from the docstrings of the package: `python -m docs.make_api`."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optimum_evoesap


ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "source" / "api.mdx"

HEAD = """<!-- Made by `python -m docs.make_api` from the docstrings of the package. Change it there. -->

# API reference
"""

# What a user imports, and from where.
NAMES = {
    "optimum_evoesap": [name for name in optimum_evoesap.__all__ if name != "__version__"],
    "optimum_evoesap.adapters": ["register_adapter"],
    "optimum_evoesap.data": ["prepare_data", "register_layout"],
}
LINE_LENGTH = 100

_SECTION = re.compile(r"^(Args|Attributes|Returns|Raises|Example):$", re.MULTILINE)
_ITEM = re.compile(r"(\*{0,2}[\w.]+): (.*)", re.DOTALL)
_LINK = re.compile(r"\[`~?([\w.]+)`\]")
_CODE = re.compile(r"(```.*?```|`[^`]*`)", re.DOTALL)


def make_page() -> str:
    """The text of the page."""
    parts = [HEAD]
    for module, names in NAMES.items():
        parts.append(f"\n## {module}\n")
        if module == "optimum_evoesap":
            parts.append("\n`__version__` is the version of the package, a string.\n")
        for name in names:
            parts += _entry(name, getattr(importlib.import_module(module), name), "###")
    return "".join(parts)


def _entry(name: str, item: Any, heading: str) -> Iterator[str]:
    """Heading, signature and docstring of a class, function or property, then the methods of a class."""
    yield f"\n{heading} {name}\n"
    if not isinstance(item, property) and _has_signature(item):
        yield f"\n```python\n{signature(name, item)}\n```\n"
    yield f"\n{as_markdown(inspect.getdoc(item) or '')}\n"
    if inspect.isclass(item):
        yield from _options(item)
        for method_name, method in _methods(item):
            yield from _entry(f"{name}.{method_name}", method, heading + "#")


def _has_signature(item: Any) -> bool:
    """Whether a call of it is declared in this package."""
    function = item.__init__ if inspect.isclass(item) else inspect.unwrap(item)
    return getattr(function, "__module__", "").startswith("optimum_evoesap") or dataclasses.is_dataclass(item)


def signature(name: str, item: Any) -> str:
    """A call with all parameters, their types and defaults: one line where it fits, otherwise a line for each.

    Args:
        name: Name of the function or class.
        item: The function or class.
    """
    declared = inspect.signature(item)
    parameters = list(_parameters(declared))
    returns = "" if declared.return_annotation in (declared.empty, None, "None") else declared.return_annotation
    arrow = f" -> {returns}" if returns and not inspect.isclass(item) else ""
    line = f"{name}({', '.join(parameters)}){arrow}"
    if len(line) <= LINE_LENGTH:
        return line
    return f"{name}(\n" + "".join(f"    {each},\n" for each in parameters) + f"){arrow}"


def _parameters(declared: inspect.Signature) -> Iterator[str]:
    names, before = [each for each in declared.parameters.values() if each.name not in ("self", "cls")], None
    for each in names:
        if each.kind is each.KEYWORD_ONLY and before not in (each.KEYWORD_ONLY, each.VAR_POSITIONAL):
            yield "*"
        before = each.kind
        mark = {each.VAR_POSITIONAL: "*", each.VAR_KEYWORD: "**"}.get(each.kind, "")
        kind = "" if each.annotation is each.empty else f": {each.annotation}"
        yield f"{mark}{each.name}{kind}{_default(each)}"


def _default(parameter: inspect.Parameter) -> str:
    if parameter.default is parameter.empty:
        return ""
    if isinstance(parameter.default, str):
        return f" = {json.dumps(parameter.default)}"
    # A field that each object gets a new value for has none to show.
    return " = ..." if repr(parameter.default) == "<factory>" else f" = {parameter.default!r}"


def _options(item: type) -> Iterator[str]:
    """The fields that have a text of their own, as those of `EvoESAPOptions`."""
    fields = dataclasses.fields(item) if dataclasses.is_dataclass(item) else ()
    lines = [f"- `{each.name}`: {_escaped(each.metadata['help'])}\n" for each in fields if "help" in each.metadata]
    if lines:
        yield "".join(["\n**Fields**\n\n", *lines])


def _methods(item: type) -> Iterator[tuple[str, Any]]:
    """Public methods and properties that this package defines, in the order of the source."""
    seen = set()
    for owner in item.__mro__:
        if owner.__module__.startswith("optimum_evoesap"):
            for name, value in vars(owner).items():
                is_method = isinstance(value, (property, classmethod, staticmethod)) or inspect.isfunction(value)
                if is_method and not name.startswith("_") and name not in seen:
                    seen.add(name)
                    yield name, value if isinstance(value, property) else getattr(item, name)


def as_markdown(text: str) -> str:
    """A Google docstring in Markdown: its sections become lists under a bold title."""
    first, *others = _SECTION.split(text)
    parts = [_escaped(first.strip())]
    for title, body in zip(others[::2], others[1::2]):
        body = textwrap.dedent(body).strip("\n")
        shown = "\n".join(_items(body)) if title in ("Args", "Attributes", "Raises") else _escaped(body)
        parts.append(f"**{title}**\n\n{shown}")
    return "\n\n".join(part for part in parts if part)


def _items(body: str) -> Iterator[str]:
    """`name: text` with indented lines after it, as entries of a list; lists inside an entry stay inside it."""
    for entry in re.split(r"\n(?=\S)", body):
        first, _, rest = entry.partition("\n")
        match = _ITEM.fullmatch(first + ("\n" + textwrap.dedent(rest) if rest else ""))
        if match is None:
            raise ValueError(f"{first!r} is no entry of a docstring: write `name: text`.")
        lines = _escaped(match[2].rstrip()).split("\n")
        yield "\n".join([f"- `{match[1]}`: {lines[0]}", *(f"  {line}".rstrip() for line in lines[1:])])


def _escaped(text: str) -> str:
    """Text whose names link to this page, and in which `<` and `{` are no markup of MDX outside code."""
    known = {name for names in NAMES.values() for name in names}
    text = _LINK.sub(lambda name: f"[`{name[1]}`](#{name[1].lower()})" if name[1] in known else f"`{name[1]}`", text)
    parts = _CODE.split(text)
    parts[::2] = [part.replace("<", "&lt;").replace("{", "\\{") for part in parts[::2]]
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(make_page(), encoding="utf-8")
