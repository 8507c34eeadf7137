# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The layouts of a row that are recognised by their columns: one function each in one registry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .image_columns import IMAGE_COLUMNS, place_images, row_images
from .options import DataError


Message = dict[str, Any]
# A plain text (no answers), or a conversation whose assistant turns are the answers; `None` for a blank row.
Document = str | list[Message] | None

SHAREGPT_ROLES = {
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "function": "tool",
    "observation": "tool",
}
ROLES = ("system", "developer", "user", "assistant", "tool")


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
    columns = columns or {}
    unknown = [role for role in columns if not any(role in layout.roles for layout in LAYOUTS)]
    if unknown:
        roles = sorted({role for layout in LAYOUTS for role in layout.roles})
        raise DataError(f"`columns` names the role {_listed(unknown)}; the roles are {_listed(roles)}")
    missing = [own for own in columns.values() if own not in row]
    if missing:
        raise DataError(f"`columns` names {_listed(missing)}, but the columns are {_listed(row)}")
    row = {**row, **{usual: row[own] for usual, own in columns.items()}}
    for layout in LAYOUTS:
        if set(columns) <= set(layout.roles) and set(layout.required) <= set(row):
            return layout.read(row)
    known = "; ".join(" + ".join(layout.required) for layout in LAYOUTS)
    raise DataError(
        f"no known layout has the columns {_listed(row)}"
        + (f" with `columns={dict(columns)}`" if columns else "")
        + f"; known are: {known}. Name your own with the `columns` option, such as "
        f'`columns={{"text": "body"}}` or `columns={{"prompt": "question", "response": "answer"}}`'
    )


@register_layout("messages", optional=IMAGE_COLUMNS)
def _messages(row: Mapping[str, Any]) -> Document:
    return _with_images(row, _conversation(_message_list(row, "messages")))


@register_layout("conversations", optional=IMAGE_COLUMNS)
def _conversations(row: Mapping[str, Any]) -> Document:
    return _with_images(row, _conversation(_message_list(row, "conversations")))


@register_layout("prompt", "completion", optional=IMAGE_COLUMNS)
def _prompt_completion(row: Mapping[str, Any]) -> Document:
    return _with_images(row, _conversation(_turns(row, "prompt", "user"), _turns(row, "completion", "assistant")))


@register_layout("prompt", "response")
def _prompt_response(row: Mapping[str, Any]) -> Document:
    return _conversation(_turns(row, "prompt", "user"), _turns(row, "response", "assistant"))


@register_layout("instruction", "output", optional=("input",))
def _instruction_output(row: Mapping[str, Any]) -> Document:
    parts = [_text(row, "instruction"), _text(row, "input") if "input" in row else ""]
    question = "\n\n".join(part for part in parts if part.strip())
    return _conversation(_turns({"instruction": question}, "instruction", "user"), _turns(row, "output", "assistant"))


@register_layout("text")
def _plain_text(row: Mapping[str, Any]) -> Document:
    text = _text(row, "text")
    return text if text.strip() else None


def _with_images(row: Mapping[str, Any], messages: list[Message] | None) -> Document:
    """Put the images of a row's own columns into its conversation."""
    return place_images(messages, row_images(row)) if messages else None


def _conversation(*parts: list[Message]) -> list[Message] | None:
    """Join the parts of a conversation; a part with nothing in it makes the whole row blank."""
    return [message for part in parts for message in part] if all(parts) else None


def _turns(row: Mapping[str, Any], column: str, role: str) -> list[Message]:
    """Read a column with messages, or with the text of one message of `role`; blank gives no message."""
    if isinstance(row[column], (list, tuple)):
        return _message_list(row, column)
    text = _text(row, column)
    return [{"role": role, "content": text}] if text.strip() else []


def _message_list(row: Mapping[str, Any], column: str) -> list[Message]:
    """Read a column with messages; None counts as blank."""
    value = [] if row[column] is None else row[column]
    if not isinstance(value, (list, tuple)):
        raise DataError(f"column {column!r} holds {type(value).__name__} where a list of messages was expected")
    return [_message(message, column) for message in value]


def _message(message: Any, column: str) -> Message:
    """Bring one message, in the usual form or in ShareGPT's `from` and `value`, to `role` and `content`."""
    if not isinstance(message, Mapping):
        raise DataError(f"column {column!r} holds {type(message).__name__} where a message was expected")
    # Columns read by `datasets` hold None for every key that only other messages have.
    message = {key: value for key, value in message.items() if value is not None}
    if "from" in message:
        message = {"role": SHAREGPT_ROLES.get(message["from"], message["from"]), "content": message.get("value", "")}
    if message.get("role") not in ROLES:
        raise DataError(
            f"column {column!r} holds a message with the keys {_listed(message)} and the role "
            f"{message.get('role')!r}; a message has `role` (one of {', '.join(ROLES)}) and `content`"
        )
    return message


def _text(row: Mapping[str, Any], column: str) -> str:
    """Read a column of text; None counts as blank."""
    value = row[column]
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(f"column {column!r} holds {type(value).__name__} where text was expected")
    return value


def _listed(names: Any) -> str:
    """Write names for a message."""
    return ", ".join(repr(name) for name in names) or "none"
