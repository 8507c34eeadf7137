# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""`optimum-cli evoesap`, the parent of the commands."""

from __future__ import annotations

from argparse import ArgumentParser

from optimum.commands.base import BaseOptimumCLICommand, CommandInfo

from .apply import ApplyCommand
from .inspect import InspectCommand
from .parser import CommandParser
from .prune import PruneCommand
from .push import PushCommand
from .sweep import SweepCommand


class EvoESAPCommand(BaseOptimumCLICommand):
    """Groups the commands; alone it prints their list."""

    COMMAND = CommandInfo(name="evoesap", help="Remove experts from sparse Mixture-of-Experts language models.")
    SUBCOMMANDS = (
        CommandInfo(
            name="prune",
            help="Remove experts, a searched number from each layer, and save a smaller checkpoint.",
            subcommand_class=PruneCommand,
        ),
        CommandInfo(
            name="sweep",
            help="Search at several sparsities in one run, and compare what is left of the model.",
            subcommand_class=SweepCommand,
        ),
        CommandInfo(
            name="apply",
            help="Make the checkpoint of a result that is there already, without data and without a search.",
            subcommand_class=ApplyCommand,
        ),
        CommandInfo(
            name="push",
            help="Push a pruned checkpoint that is in a folder already to the Hub.",
            subcommand_class=PushCommand,
        ),
        CommandInfo(
            name="inspect",
            help="Show the sparse layers of a model and what pruning would leave, without loading weights.",
            subcommand_class=InspectCommand,
        ),
    )

    @staticmethod
    def parse_args(parser: ArgumentParser) -> None:
        """Describe the group of commands."""
        # `optimum-cli` makes the parser itself; those of the commands are of the same class as this one.
        parser.__class__ = CommandParser
        parser.description = EvoESAPCommand.COMMAND.help
