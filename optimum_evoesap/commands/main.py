# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""`python -m optimum_evoesap`: the commands of this package, and those of transformers with this package imported."""

from __future__ import annotations

import sys

from ..suggestion import closest
from .base import EvoESAPCommand
from .errors import EXIT_CODE
from .parser import CommandParser


PROGRAM = "python -m optimum_evoesap"
# The command line of transformers has no option to import a package before it loads a model.
TRANSFORMERS_COMMANDS = {
    "serve": "Serve pruned checkpoints through an API that is compatible with OpenAI's.",
    "chat": "Chat with a model that is served.",
    "download": "Download a model and its tokenizer from the Hub.",
    "env": "Print the environment, as issues ask for it.",
    "version": "Print the version of transformers.",
    "add-new-model-like": "Add a model to the source of transformers.",
}


def main() -> None:
    """Run the command that the command line of this process names.

    Raises:
        SystemExit: There is no such command, or what it raises.
    """
    arguments = sys.argv[1:]
    own = {info.name: info.help for info in EvoESAPCommand.SUBCOMMANDS}
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help"):
        print(_help(own))
    elif name in own:
        _run_own(arguments)
    else:
        meant = None if name in TRANSFORMERS_COMMANDS else closest(name, [*own, *TRANSFORMERS_COMMANDS])
        if meant is not None:
            print(f"error: {name!r} is unknown: did you mean {meant!r}? All: {PROGRAM} --help", file=sys.stderr)
            raise SystemExit(EXIT_CODE)
        from transformers.cli.transformers import main as transformers_main

        transformers_main()


def _run_own(arguments: list[str]) -> None:
    parser = CommandParser(prog=PROGRAM)
    commands = parser.add_subparsers()
    for info in EvoESAPCommand.SUBCOMMANDS:
        info.subcommand_class(commands, command=info)
    args = parser.parse_args(arguments)
    args.func(args).run()


def _help(own: dict[str, str]) -> str:
    width = max(map(len, [*own, *TRANSFORMERS_COMMANDS]))
    parts = [
        ("Commands of optimum-evoesap, the same as optimum-cli evoesap COMMAND:", own),
        (
            "Commands of transformers, the same as transformers COMMAND but for pruned models too:",
            TRANSFORMERS_COMMANDS,
        ),
    ]
    lines = [f"usage: {PROGRAM} COMMAND [options]"]
    for title, commands in parts:
        lines += ["", title, *(f"  {name:{width}}  {text}" for name, text in commands.items())]
    return "\n".join([*lines, "", f"Options of a command: {PROGRAM} COMMAND --help"])
