# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""`optimum-cli evoesap push`: a checkpoint that is in a folder already, to the Hub."""

from __future__ import annotations

import logging
from argparse import ArgumentParser, Namespace

from optimum.commands.base import BaseOptimumCLICommand

from .arguments import add_token_option, set_up_parser
from .errors import errors_in_one_line
from .output import add_repository_options, repository_arguments


class PushCommand(BaseOptimumCLICommand):
    """Pushes what a run has saved."""

    @staticmethod
    def parse_args(parser: ArgumentParser) -> None:
        """Declare the options."""
        set_up_parser(
            parser,
            "Push the checkpoint in a folder that prune or apply saved it to, with a card that names the repository. "
            "Example: optimum-cli evoesap push olmoe-50 --hub-model-id me/olmoe-50",
            usage="FOLDER [options]",
        )
        parser.add_argument("folder", metavar="FOLDER", help="Folder with the pruned checkpoint.")
        hub = parser.add_argument_group("Hub")
        add_repository_options(hub)
        add_token_option(hub)

    def run(self) -> None:
        """Push, and print where to."""
        with errors_in_one_line(lambda: "The push did not finish; the same command begins it again."):
            _run(self.args)


def _run(args: Namespace) -> None:
    from ..checkpoint.push_checks import plan_push
    from ..checkpoint.saved import push_saved

    logging.basicConfig(format="%(message)s")
    logging.getLogger("optimum_evoesap").setLevel(logging.INFO)
    options = repository_arguments(args)
    plan = plan_push(True, options.pop("hub_model_id", None), args.folder, **options)
    assert plan is not None
    commit = push_saved(args.folder, **plan)
    print(f"Pushed to {commit.pr_url or commit.commit_url}")
