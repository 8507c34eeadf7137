# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Tables, code blocks, and text of others in Markdown."""

from __future__ import annotations

import re

from .text import one_line


# What begins markup in the middle of a line. HTML is written as entities, which hold also where backslashes do not.
_MARKUP = re.compile(r"[\\`*_\[\]~]|(?<=:)//|(?i:(?<=www)\.)")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;"}


def plain(text: str) -> str:
    """Text of others, such as the name of a file, as it stands: no markup, HTML, link or line break.

    Args:
        text: The text.
    """
    shown = "".join(_ENTITIES.get(each, each) for each in one_line(text))
    return _MARKUP.sub(lambda found: "\\" + found[0], shown)


def code_span(text: str) -> str:
    """A name of others in a span of code, which it cannot end.

    Args:
        text: The name.
    """
    shown = one_line(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    blank = " " if shown[:1] == "`" or shown[-1:] == "`" else ""
    return f"{fence}{blank}{shown}{blank}{fence}" if shown else ""


def code_block(language: str, text: str) -> str:
    """A block of code.

    Args:
        language: Its language, such as `python`.
        text: The code.
    """
    return f"```{language}\n{text}\n```"


def markdown_table(header: list[str], rows: list[list[str]]) -> str:
    """A table.

    Args:
        header: Cells of the header.
        rows: Cells of each row, as many.
    """

    def line(cells: list[str]) -> str:
        # A pipe or a line break in a cell would end it.
        return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"

    return "\n".join([line(header), line(["---"] * len(header)), *map(line, rows)])
