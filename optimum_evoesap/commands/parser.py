# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`CommandParser`]: argparse with errors of one line that say what may have been meant."""

from __future__ import annotations

import sys
from argparse import Action, ArgumentError, ArgumentParser, Namespace
from collections.abc import Sequence
from typing import Any, NoReturn

from ..suggestion import did_you_mean
from .errors import EXIT_CODE


class CommandParser(ArgumentParser):
    """A parser of a command, or of a group of them; the parsers of its commands are of this class too.

    Options that there are not are told first, whatever else is missing.
    """

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Namespace | None = None
    ) -> tuple[Namespace, list[str]]:
        """As in `ArgumentParser`, but nothing is left over.

        Args:
            args: The command line; by default that of this process.
            namespace: Takes the values.
        """
        args = sys.argv[1:] if args is None else list(args)
        if self._subparsers is None:
            self._refuse_unknown(args)
        known, others = super().parse_known_args(args, namespace)
        if others:
            self.error(f"{others[0]!r} belongs to no option.")
        return known, others

    def error(self, message: str) -> NoReturn:
        """Print one line, and end with the exit code of wrong options.

        Args:
            message: What is wrong.

        Raises:
            SystemExit: Always.
        """
        line = " ".join(message.split())
        end = "" if line.endswith((".", "?")) else "."
        print(f"error: {line}{end} All options: {self.prog} --help", file=sys.stderr)
        raise SystemExit(EXIT_CODE)

    def _refuse_unknown(self, args: Sequence[str]) -> None:
        known = self._option_string_actions
        for arg in args:
            name = arg.partition("=")[0]
            if arg == "--":
                return  # what follows are values
            # argparse takes what has a space in it for a value.
            if name.startswith("--") and " " not in name and name not in known:
                # The other spelling of an option, with underscores, is not in the help.
                shown = [option for option in known if "_" not in option or "_" in name]
                self.error(f"there is no option {name}: {did_you_mean(name, shown)}".removesuffix(": "))

    def _check_value(self, action: Action, value: Any) -> None:
        choices = action.choices
        if choices is not None and value not in choices:
            remedy = did_you_mean(str(value), map(str, choices), f"choose one of {', '.join(map(str, choices))}")
            raise ArgumentError(action if action.option_strings else None, f"{value!r} is unknown: {remedy}")
