# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""`optimum-cli evoesap apply`: the checkpoint of a result that is there already, without data and without a search."""

from __future__ import annotations

import logging
from argparse import ArgumentParser, Namespace

from optimum.commands.base import BaseOptimumCLICommand

from .arguments import add_model_options, add_option, set_up_parser, source_options
from .errors import errors_in_one_line
from .output import (
    add_hub_options,
    add_loading_options,
    add_output_options,
    check_push,
    hub_arguments,
    loading_options,
)


class ApplyCommand(BaseOptimumCLICommand):
    """Removes the experts from a model that somebody's result removes, and saves it."""

    @staticmethod
    def parse_args(parser: ArgumentParser) -> None:
        """Declare the options."""
        set_up_parser(
            parser,
            "Keep the experts of a model that a result keeps, and save the same checkpoint as its run: no data are "
            "read and nothing is searched. Example: optimum-cli evoesap apply --result me/olmoe-50 "
            "-m allenai/OLMoE-1B-7B-0125-Instruct -o olmoe-50",
            usage="--result RESULT -m MODEL -o OUTPUT [options]",
        )
        result = parser.add_argument_group("result")
        add_option(
            result,
            "--result",
            required=True,
            help="An evoesap_result.json, the folder that holds one, or a repository on the Hub.",
        )
        add_option(result, "--result-revision", help="Branch, tag or commit of that repository (default: main)")
        model = parser.add_argument_group("model")
        add_model_options(model)
        add_loading_options(model)
        add_output_options(parser.add_argument_group("output"))
        add_hub_options(parser.add_argument_group("Hub"))

    def run(self) -> None:
        """Apply the result, save, push, and print a summary."""
        with errors_in_one_line():
            _run(self.args)


def _run(args: Namespace) -> None:
    hub = hub_arguments(args)

    from ..checkpoint.files import check_output_folder
    from ..pruner import MoEPruner
    from ..reports.result import PruningResult
    from ..reports.summary import summarize

    logging.basicConfig(format="%(message)s")
    logging.getLogger("optimum_evoesap").setLevel(logging.INFO)
    check_output_folder(args.output, args.model)
    check_push(hub, args.output)
    result = PruningResult.from_pretrained(
        args.result, revision=getattr(args, "result_revision", None), token=getattr(args, "token", None)
    )
    pruner = MoEPruner.from_pretrained(
        args.model,
        tokenizer=getattr(args, "tokenizer", None),
        result=result,
        **loading_options(args),
        **source_options(args),
    )
    pruner.prune(args.output, result=result, remote_code=args.remote_code, **hub)
    print(summarize(PruningResult.load(args.output), args.output))
