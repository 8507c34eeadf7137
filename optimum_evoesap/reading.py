# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Read a JSON file by a schema, with limits: what is not as its writer makes it is an error that names the field."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from .suggestion import shown


MAX_BYTES = 64 * 2**20
# Files of ours have five levels; a parser's own limit is the stack, which the caller has used up in part.
MAX_DEPTH = 40

# Whole numbers that a float holds too, so that any arithmetic can be done with them.
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
# Neither NaN nor infinite.
Amount = Annotated[float, msgspec.Meta(ge=0, le=sys.float_info.max)]
Finite = Annotated[float, msgspec.Meta(ge=-sys.float_info.max, le=sys.float_info.max)]

Schema = TypeVar("Schema")

_PLACE = re.compile(r" - at (?P<is_key>`key` in )?`\$(?P<steps>[^`]*)`$")
_STEP = re.compile(r"\.(?P<field>[^.\[\]]+)|\[(?P<index>\d+|\.\.\.)\]")


class FileContentError(ValueError):
    """A file does not hold what its name promises; the message says the file, the field, the value and the remedy."""


def read_json(
    path: str | Path,
    schema: type[Schema],
    what: str,
    remedy: str,
    check: Callable[[Schema], None] | None = None,
    max_bytes: int = MAX_BYTES,
) -> Schema:
    """What a JSON file holds, as an object of a schema.

    Fields that the schema does not know, such as those of a later release, are left out.

    Args:
        path: The file.
        schema: A dataclass, or another type that msgspec converts to; its annotations are the types of the fields.
        what: What the file should be, such as "the result of a run".
        remedy: What to do where it is something else, as a sentence.
        check: Raises `ValueError` where fields contradict each other or are out of range.
        max_bytes: Most bytes that are read.

    Raises:
        FileNotFoundError: There is no such file.
        OSError: It cannot be read.
        FileContentError: It is too large, no JSON in UTF-8, nested too deeply, or names a field twice; a field is
            absent or of another type; or `check` refuses it.
    """
    path = Path(path)
    content = read_limited(path, max_bytes)
    try:
        found = fit(parse_json(content), schema)
        if check is not None:
            check(found)
    except ValueError as error:
        raise FileContentError(f"{path} is not {what}: {str(error).rstrip('.')}. {remedy}") from error
    return found


def read_limited(path: str | Path, max_bytes: int = MAX_BYTES) -> bytes:
    """The content of a file that may not be large.

    Args:
        path: The file.
        max_bytes: Most bytes that it may have.

    Raises:
        FileNotFoundError: There is no such file.
        OSError: It cannot be read.
        FileContentError: It is larger, or something that is read without end, such as a pipe.
    """
    check_is_file(path)
    with open(path, "rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise FileContentError(
            f"{path} is larger than {max_bytes:,} bytes, which no file of its kind is; was it replaced?"
        )
    return content


def check_is_file(path: str | Path) -> None:
    """Refuse what is there and no file, such as a folder, or a pipe, which is read without end.

    Args:
        path: Where something may be.

    Raises:
        FileContentError: It is no file.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        raise FileContentError(f"{path} is no file; give the path of one.")


def parse_json(content: bytes, max_depth: int = MAX_DEPTH) -> Any:
    """Values of JSON in UTF-8, which may not be nested deeply, name a field twice, or hold half characters.

    Args:
        content: The text.
        max_depth: Most lists and objects inside each other.

    Raises:
        ValueError: It is something else.
    """
    too_deep = ValueError(f"its values are nested more than {max_depth} levels deep")
    try:
        values = json.loads(content.decode("utf-8-sig"), object_pairs_hook=_without_repetition)
    except UnicodeDecodeError as error:
        raise ValueError(f"it is no text in UTF-8 (byte {error.start}: {error.reason})") from error
    except RecursionError as error:
        raise too_deep from error
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON ({error})") from error
    level: list[Any] = [values]
    for _ in range(max_depth + 1):
        _check_characters(level)
        inside = [each for each in level if isinstance(each, (dict, list))]
        if not inside:
            return values
        level = [inner for each in inside for inner in _inside(each)]
    raise too_deep


def fit(values: Any, schema: type[Schema]) -> Schema:
    """An object of a schema, from the values of a JSON file.

    Args:
        values: Dicts, lists, texts, numbers.
        schema: As for [`read_json`]; a dict with integer keys takes texts of integers, as JSON has it.

    Raises:
        ValueError: A field is absent or of another type; names the field and the value.
    """
    try:
        return msgspec.convert(values, schema, str_keys=True)
    except msgspec.ValidationError as error:
        raise ValueError(_describe(str(error), values, schema)) from error


def _describe(message: str, values: Any, schema: Any) -> str:
    place = _PLACE.search(message)
    problem = message[: place.start()] if place else message
    problem = problem[0].lower() + problem[1:]
    steps: list[str | int] = []
    for step in _STEP.finditer(place["steps"] if place else ""):
        # msgspec leaves the keys of an object out.
        if step["index"] == "...":
            steps.append(_wrong_key(message, values, steps, schema))
        else:
            steps.append(int(step["index"]) if step["index"] else step["field"])
    where = _name(steps)
    if place and place["is_key"]:
        return f"{where} has the key {shown(_wrong_key(message, values, steps, schema))} ({problem})"
    if problem.startswith("object missing required field"):
        return f"{where or 'it'} has no field {problem.split()[-1]}"
    return f"{where or 'it'} is {shown(_value_at(values, steps))} ({problem})"


def _wrong_key(message: str, values: Any, steps: list[str | int], schema: Any) -> str:
    """The key of an object with which alone a message comes too."""
    for key in _value_at(values, steps):
        try:
            msgspec.convert(_only(values, steps, key), schema, str_keys=True)
        except msgspec.ValidationError as error:
            if str(error) == message:
                return key
    raise AssertionError(f"{message} comes with none of the keys of {_name(steps)}")


def _only(values: Any, steps: list[str | int], key: Any) -> Any:
    """The same values, where the object at the end of `steps` has but one of its keys."""
    if not steps:
        return {key: values[key]}
    first, *rest = steps
    changed = dict(values) if isinstance(values, dict) else list(values)
    changed[first] = _only(values[first], rest, key)  # type: ignore[index]
    return changed


def _value_at(values: Any, steps: list[str | int]) -> Any:
    for step in steps:
        values = values[step]
    return values


def _name(steps: list[str | int]) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) or not step.isidentifier() else f".{step}" for step in steps)
    return text.removeprefix(".")


def _inside(value: dict[str, Any] | list[Any]) -> list[Any]:
    return [*value, *value.values()] if isinstance(value, dict) else value


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise ValueError(f"it names {shown(twice)} twice")
    return found


def _check_characters(values: list[Any]) -> None:
    # Half of a surrogate pair: text that cannot be printed or written.
    for value in values:
        if isinstance(value, str) and not value.isascii() and any("\ud800" <= each <= "\udfff" for each in value):
            raise ValueError(f"the text {shown(value)} holds half a character (a lone surrogate)")
