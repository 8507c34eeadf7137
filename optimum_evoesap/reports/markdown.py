# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Tables and code blocks in Markdown."""

from __future__ import annotations


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
