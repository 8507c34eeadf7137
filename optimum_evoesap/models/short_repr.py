# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""How large objects show themselves in few words: as text, and as HTML in notebooks."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from html import escape


_LONGEST_VALUE = 60
_LINE_WIDTH = 117
_NO_BREAK = "\N{NO-BREAK SPACE}"


class ShortRepr:
    """An object that shows the few facts of its `_summary`."""

    def _summary(self) -> list[tuple[str, str]]:
        """Name and value of each fact."""
        raise NotImplementedError

    def _safe_summary(self) -> list[tuple[str, str]]:
        try:
            return [(name, str(value)) for name, value in self._summary()]
        # A debugger also shows an object whose __init__ failed, or one that holds wrong values.
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
            return [("state", "incomplete")]

    def __repr__(self) -> str:
        facts = ", ".join(_unbroken(f"{name}: {_shortened(value)}") for name, value in self._safe_summary())
        text = f"<{type(self).__name__} {facts}>"
        lines = textwrap.wrap(text, _LINE_WIDTH, break_long_words=False, break_on_hyphens=False)
        return "\n  ".join(lines).replace(_NO_BREAK, " ")

    def _repr_html_(self) -> str:
        return html_table(type(self).__name__, self._safe_summary())


class CodeRepr(ShortRepr):
    """An object that shows the code that makes it; its `_summary` holds the arguments that are no defaults."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in self._safe_summary())})"

    def _repr_html_(self) -> str:
        return html_table(type(self).__name__, self._safe_summary() or [("all fields", "default")])


def html_table(title: str, rows: Iterable[tuple[str, str]]) -> str:
    """A small table in HTML.

    Args:
        title: What stands above it, as plain text.
        rows: Name and value of each row, as plain text.
    """
    lines = [f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows]
    return "\n".join(["<table>", f"<caption>{escape(title)}</caption>", *lines, "</table>"])


def _shortened(text: str) -> str:
    """The text without its middle where it is long: a path tells most at its end."""
    half = _LONGEST_VALUE // 2
    return text if len(text) <= _LONGEST_VALUE else f"{text[: half - 1]}…{text[-half:]}"


def _unbroken(text: str) -> str:
    return _NO_BREAK.join(text.split())
