# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Command line options: those of [`EvoESAPOptions`], made from its fields, and those that say where a model is."""

from __future__ import annotations

import dataclasses
import json
import typing
from argparse import SUPPRESS, ArgumentParser, ArgumentTypeError, BooleanOptionalAction, Namespace
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from ..option_checks import check_option
from ..options import EvoESAPOptions
from ..presets import PRESETS
from ..registry import BUILT_IN_ROLES
from ..suggestion import did_you_mean


if TYPE_CHECKING:
    from argparse import _ArgumentGroup

DTYPES = ("auto", "float32", "bfloat16", "float16")
_FIELDS = dataclasses.fields(EvoESAPOptions)
_PLACEHOLDERS = {int: "N", float: "X", str: "NAME"}


def add_option(group: _ArgumentGroup, *names: str, **settings: Any) -> None:
    """Add an option that is left out of the namespace where the user does not give it.

    `--two-words` is also understood as `--two_words`, which the help does not repeat.

    Args:
        group: The group of options that it joins.
        *names: Its spellings, such as `-c` and `--config`.
        **settings: As in `ArgumentParser.add_argument`.
    """
    settings.setdefault("default", SUPPRESS)
    action = group.add_argument(*names, **settings)
    spellings = [f"--{name[2:].replace('-', '_')}" for name in names if "-" in name[2:]]
    if spellings:
        group.add_argument(*spellings, **(settings | {"dest": action.dest, "help": SUPPRESS, "required": False}))


def add_config_options(group: _ArgumentGroup, without: Collection[str] = ()) -> None:
    """Add one option for each field of [`EvoESAPOptions`], and one for presets.

    Args:
        group: The group of options that they join.
        without: Fields that the command has in another way.
    """
    add_option(
        group,
        "--preset",
        choices=tuple(PRESETS),
        help="Values of many of the options below; those given next to it go before. paper: criterion, sizes and loop "
        "of the paper as they were for OLMoE (for ERNIE it took --generations 20, for Qwen3-30B 10); the found "
        "allocation is returned in any case.",
    )
    add_field_options(group, [field.name for field in _FIELDS if field.name not in without])


def add_field_options(group: _ArgumentGroup, names: Collection[str]) -> None:
    """Add one option for each of some fields of [`EvoESAPOptions`].

    Args:
        group: The group of options that they join.
        names: The fields.
    """
    kinds = typing.get_type_hints(EvoESAPOptions)
    for field in (each for each in _FIELDS if each.name in names):
        text = f"{field.metadata['help']} (default: {_shown(field.default)})".replace("%", "%%")
        name = f"--{field.name.replace('_', '-')}"
        if kinds[field.name] in (bool, bool | None):
            add_option(group, name, help=text, action=BooleanOptionalAction)
        else:
            add_option(group, name, help=text, **_value_settings(field.name, kinds[field.name]))


def given_options(args: Namespace) -> dict[str, Any]:
    """The fields of [`EvoESAPOptions`], and the preset, that the user gave."""
    names = ["preset", *(field.name for field in _FIELDS)]
    return {name: getattr(args, name) for name in names if hasattr(args, name)}


def check_given_options(args: Namespace) -> None:
    """Check what the user gave as far as that goes without a model, before anything is imported that takes seconds.

    Args:
        args: The options.

    Raises:
        ValueError: A field has a value that it cannot have, or `--columns` names a role that no layout has.
    """
    given = {name: value for name, value in given_options(args).items() if value is not None and name != "preset"}
    for name, value in given.items():
        check_option(name, value)
    for role in given.get("columns", ()):
        if role not in BUILT_IN_ROLES:
            remedy = did_you_mean(role, BUILT_IN_ROLES, f"the roles are {', '.join(BUILT_IN_ROLES)}.")
            raise ValueError(f"--columns names the role {role!r}: {remedy}")


def add_model_options(group: _ArgumentGroup) -> None:
    """Add the options that say which model, from where."""
    group.add_argument("-m", "--model", required=True, help="Folder or Hub id of the model.")
    add_option(group, "--revision", help="Branch, tag or commit of the model on the Hub (default: main)")
    add_option(
        group,
        "--trust-remote-code",
        action="store_true",
        help="Run code that comes with the model; only for repositories that you have read (default: off)",
    )
    add_token_option(group)


def add_token_option(group: _ArgumentGroup) -> None:
    """Add the option that says who asks the Hub."""
    add_option(
        group, "--token", help="Access token for the Hub (default: the one of `hf auth login`)", metavar="TOKEN"
    )


def source_options(args: Namespace) -> dict[str, Any]:
    """The options of `add_model_options` as arguments of `from_pretrained`."""
    return {name: getattr(args, name) for name in ("revision", "trust_remote_code", "token") if hasattr(args, name)}


def parse_allocation(text: str) -> str | list[int] | dict[int, int]:
    """Read a strategy, `uniform`, removed counts as `3,4,5`, or a JSON list or object (decoder layer to count).

    Raises:
        ArgumentTypeError: It looks like counts and is not.
    """
    text = text.strip()
    try:
        if text.startswith("{"):
            return {int(layer): _count(count) for layer, count in _read_json(text).items()}
        if text.startswith("["):
            return [_count(count) for count in _read_json(text)]
        if text[:1].isdigit():
            return [int(count) for count in text.split(",")]
    except ValueError:
        raise ArgumentTypeError(
            f'{text!r} is not a list of removed counts, one per sparse layer, such as 3,4,5 or {{"0": 3, "2": 5}}'
        ) from None
    return text


def parse_columns(text: str) -> dict[str, str]:
    """Read `role=column,role=column`, or a JSON object.

    Raises:
        ArgumentTypeError: It is neither.
    """
    text = text.strip()
    wrong = ArgumentTypeError(f"{text!r} does not name columns; write role=column,role=column, such as text=body")
    if text.startswith("{"):
        columns = _read_json(text)
        if not all(isinstance(column, str) for column in columns.values()):
            raise wrong
        return columns
    pairs = [[part.strip() for part in pair.split("=", 1)] for pair in text.split(",")]
    if not all(len(pair) == 2 and all(pair) for pair in pairs):
        raise wrong
    return {pair[0]: pair[1] for pair in pairs}


def parse_keep(text: str) -> dict[int, list[int]]:
    """Read a JSON object from decoder layer to the list of its experts.

    Raises:
        ArgumentTypeError: It is something else.
    """
    try:
        return {int(layer): [_count(expert) for expert in experts] for layer, experts in _read_json(text).items()}
    except (ValueError, TypeError, AttributeError):
        raise ArgumentTypeError(
            f'{text!r} does not name experts by layer; write a JSON object such as {{"0": [3, 17], "5": [2]}}'
        ) from None


def parse_device_map(text: str) -> str | dict[str, Any] | None:
    """Read `auto`, a device such as `cuda:0`, `none`, or a JSON object (module to device).

    Raises:
        ArgumentTypeError: It begins like JSON and is not.
    """
    if text.strip().startswith("{"):
        return _read_json(text)
    return None if text == "none" else text


def set_up_parser(parser: ArgumentParser, description: str, usage: str) -> None:
    """Set what `optimum-cli` leaves to each command: the texts of the help, and no abbreviated options.

    Args:
        parser: The parser of the command.
        description: What the command does.
        usage: What follows the name of the command in its first line of help.
    """
    parser.description = description
    parser.usage = f"{parser.prog} {usage}"  # argparse's own would name all options
    # An abbreviation would be ambiguous between the two spellings of an option.
    parser.allow_abbrev = False


def _value_settings(name: str, kind: Any) -> dict[str, Any]:
    """Type and placeholder of an option that takes a value."""
    parsers: dict[str, tuple[Callable[[str], Any], str]] = {
        "allocation": (parse_allocation, "guided|evolution|gradient|uniform|N,N,..."),
        "columns": (parse_columns, "ROLE=COLUMN,..."),
        "keep": (parse_keep, "JSON"),
        "report_to": (_names, "NAME,..."),
        "target_size": (str, "SIZE"),
    }
    choices = typing.get_args(kind) or (kind,)
    parse, placeholder = parsers.get(name) or (choices[0], _PLACEHOLDERS[choices[0]])
    if type(None) in choices:
        parse = _or_none(parse)
    return {"type": parse, "metavar": placeholder}


def _or_none(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Also takes `none`, to undo what a configuration file says."""

    def parse_or_none(text: str) -> Any:
        return None if text.lower() == "none" else parse(text)

    # argparse names the type in its message about a wrong value.
    parse_or_none.__name__ = parse.__name__
    return parse_or_none


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def _read_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArgumentTypeError(f"{text[:100]!r} is not valid JSON: {error}") from error


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(value)
    return value


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    return "none" if default is None else str(default)
