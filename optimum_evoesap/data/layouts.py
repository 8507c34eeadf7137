# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The layouts of a row that are recognised by their columns: one function each in one registry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..suggestion import did_you_mean
from .beside import BESIDE_COLUMNS, with_beside
from .image_columns import IMAGE_COLUMNS, place_images, row_images
from .messages import Conversation, Message, as_text, is_blank, listed, read_messages
from .options import DataError


# A plain text (no answers), or a conversation whose assistant turns are the answers; `None` for a blank row.
Document = str | list[Message] | None


@dataclass(frozen=True)
class Layout:
    """One layout of a row.

    Attributes:
        required: Columns that it needs.
        optional: Columns that it may use.
        read: Makes a document of a row.
    """

    required: tuple[str, ...]
    optional: tuple[str, ...]
    read: Callable[[Mapping[str, Any]], Document]

    def reads(self, row: Mapping[str, Any], columns: Mapping[str, str]) -> bool:
        """Whether this layout reads a row.

        Args:
            row: The row, under the usual names of its columns.
            columns: Own column names by the usual ones, which must all be of this layout.
        """
        return set(columns) <= set(self.roles) and set(self.required) <= set(row)

    @property
    def roles(self) -> tuple[str, ...]:
        """What `DataOptions.columns` may give other columns to."""
        return *self.required, *self.optional


# In order of precedence: a row that fits several is read by the first.
LAYOUTS: list[Layout] = []


def register_layout(
    *required: str, optional: tuple[str, ...] = ()
) -> Callable[[Callable[[Mapping[str, Any]], Document]], Callable[[Mapping[str, Any]], Document]]:
    """Register a function that turns a row with the `required` columns into a document.

    Args:
        *required: Columns that a row of this layout has.
        optional: Columns that it may have and that `DataOptions.columns` may rename.

    Returns:
        The decorator. The function returns a string (plain text), a list of messages with `role` and `content`
        (the assistant's are the answers), or `None` for a row to skip.
    """

    def decorator(read: Callable[[Mapping[str, Any]], Document]) -> Callable[[Mapping[str, Any]], Document]:
        LAYOUTS.append(Layout(required, optional, read))
        return read

    return decorator


def read_document(row: Mapping[str, Any], columns: Mapping[str, str] | None = None) -> Document:
    """Turn a row into a document.

    Args:
        row: The row, by column.
        columns: Own column names by the usual ones, as in `DataOptions.columns`.

    Returns:
        A text, a conversation, or `None` for a blank row.

    Raises:
        DataError: The columns are those of no layout, or hold something else than text or messages.
    """
    row, layout = _find(row, columns or {})
    document = layout.read(row)
    if isinstance(document, list) and not isinstance(document, Conversation):
        # What a layout of the user's own gives, which may be in any of the forms of data sets.
        return Conversation(read_messages(document, " + ".join(layout.required)))
    return document


def columns_read(row: Mapping[str, Any], columns: Mapping[str, str] | None = None) -> set[str]:
    """The columns that `read_document` makes a document of.

    Args:
        row: The row, by column.
        columns: As in `read_document`.

    Raises:
        DataError: As in `read_document`.
    """
    named = columns or {}
    _, layout = _find(row, named)
    return {named.get(role, role) for role in layout.roles}


def _find(row: Mapping[str, Any], columns: Mapping[str, str]) -> tuple[Mapping[str, Any], Layout]:
    """The row under the usual names of its columns, and the first layout that reads it."""
    unknown = [role for role in columns if not any(role in layout.roles for layout in LAYOUTS)]
    if unknown:
        roles = sorted({role for layout in LAYOUTS for role in layout.roles})
        remedy = did_you_mean(unknown[0], roles, f"the roles are {listed(roles)}")
        raise DataError(f"`columns` names the role {listed(unknown)}; {remedy}")
    missing = [own for own in columns.values() if own not in row]
    if missing:
        question = did_you_mean(missing[0], map(str, row))
        raise DataError(
            f"`columns` names {listed(missing)}, but the columns are {listed(row)}{question and '; ' + question}"
        )
    renamed = {**row, **{usual: row[own] for usual, own in columns.items()}}
    fitting = [layout for layout in LAYOUTS if layout.reads(renamed, columns)]
    # A row of a mixture of layouts has all their columns, and None in those of the others.
    filled = [layout for layout in fitting if any(not _is_empty(renamed[column]) for column in layout.required)]
    for layout in (*filled, *fitting):
        return renamed, layout
    known = "; ".join(" + ".join(layout.required) for layout in LAYOUTS)
    raise DataError(
        f"no known layout has the columns {listed(row)}"
        + (f" with `columns={dict(columns)}`" if columns else "")
        + f"; known are: {known}. Name your own with the `columns` option, such as "
        f'`columns={{"text": "body"}}` or `columns={{"prompt": "question", "response": "answer"}}`'
    )


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, (str, list, tuple)) and not value)


@register_layout("messages", optional=(*IMAGE_COLUMNS, *BESIDE_COLUMNS))
def _messages(row: Mapping[str, Any]) -> Document:
    return _conversation(row, read_messages(row["messages"], "messages"))


@register_layout("conversations", optional=(*IMAGE_COLUMNS, *BESIDE_COLUMNS))
def _conversations(row: Mapping[str, Any]) -> Document:
    return _conversation(row, read_messages(row["conversations"], "conversations"))


@register_layout("prompt", "completion", optional=(*IMAGE_COLUMNS, *BESIDE_COLUMNS))
def _prompt_completion(row: Mapping[str, Any]) -> Document:
    return _question_and_answer(row, "prompt", "completion")


@register_layout("prompt", "response", optional=BESIDE_COLUMNS)
def _prompt_response(row: Mapping[str, Any]) -> Document:
    return _question_and_answer(row, "prompt", "response")


@register_layout("instruction", "output", optional=("input", *BESIDE_COLUMNS))
def _instruction_output(row: Mapping[str, Any]) -> Document:
    parts = [_text(row, "instruction"), _text(row, "input") if "input" in row else ""]
    question = "\n\n".join(part for part in parts if part.strip())
    return _question_and_answer({**row, "instruction": question}, "instruction", "output")


@register_layout("text")
def _plain_text(row: Mapping[str, Any]) -> Document:
    text = _text(row, "text")
    return text if text.strip() else None


def _question_and_answer(row: Mapping[str, Any], question: str, answer: str) -> Document:
    """A conversation of two columns; where one of them is blank, what the other holds is used all the same."""
    asked, answered = _turns(row, question, "user"), _turns(row, answer, "assistant")
    if answered and not asked:
        asked = [{"role": "user", "content": ""}]
    return _conversation(row, [*asked, *answered])


def _conversation(row: Mapping[str, Any], messages: list[Message]) -> Document:
    """Put what stands in other columns into a conversation; `None` where nothing says anything."""
    conversation = with_beside(row, messages)
    images = row_images(row)
    if images and not conversation:
        raise DataError(f"columns {listed(IMAGE_COLUMNS)} hold images of a conversation that is blank")
    if all(map(is_blank, conversation)) and not conversation.tools and not images:
        return None
    conversation[:] = place_images(conversation, images)
    return conversation


def _turns(row: Mapping[str, Any], column: str, role: str) -> list[Message]:
    """Read a column with messages, or with the text of one message of `role`; blank gives no message."""
    if isinstance(row[column], (list, tuple, Mapping)):
        return read_messages(row[column], column)
    text = _text(row, column)
    return [{"role": role, "content": text}] if text.strip() else []


def _text(row: Mapping[str, Any], column: str) -> str:
    """Read a column of text; None counts as blank."""
    return as_text(row[column], f"column {column!r}")
