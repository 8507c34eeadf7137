# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""`optimum-cli evoesap sweep`: an allocation for each of several sparsities, in one run."""

from __future__ import annotations

import logging
import os
from argparse import ArgumentParser, Namespace

from optimum.commands.base import BaseOptimumCLICommand

from ..option_checks import check_option
from .arguments import (
    add_config_options,
    add_model_options,
    add_option,
    check_given_options,
    set_up_parser,
    source_options,
)
from .errors import errors_in_one_line
from .interrupted import what_is_left_in
from .output import add_loading_options, loading_options
from .prune import add_dry_run, add_run_options, make_config, needed_data, read_ranking


class SweepCommand(BaseOptimumCLICommand):
    """Searches at several sparsities and saves what it finds; no checkpoint is made."""

    @staticmethod
    def parse_args(parser: ArgumentParser) -> None:
        """Declare the options."""
        set_up_parser(
            parser,
            "Search at several sparsities in one run, print size and scores of each, and save the results; any of "
            "them then becomes a checkpoint: optimum-cli evoesap apply --result OUTPUT/0.5 -m MODEL -o CHECKPOINT. "
            "Example: optimum-cli evoesap sweep -m allenai/OLMoE-1B-7B-0125-Instruct -o olmoe-front --sparsities "
            "0.25 0.5 0.75",
            usage="-m MODEL -o OUTPUT --sparsities X [X ...] [options]",
        )
        model = parser.add_argument_group("model")
        add_model_options(model)
        add_loading_options(model)
        output = parser.add_argument_group("output")
        add_option(
            output,
            "-o",
            "--output",
            required=True,
            type=os.path.expanduser,
            help="New or empty folder for the results, or one with an earlier front, which is then replaced.",
        )
        add_dry_run(output)
        pruning = parser.add_argument_group("pruning")
        add_option(
            pruning,
            "--sparsities",
            required=True,
            nargs="+",
            type=float,
            metavar="X",
            help="Shares of the routed experts to remove, each in (0, 1), rounded to whole experts in each layer.",
        )
        add_run_options(output, pruning)
        add_config_options(pruning, without=("sparsity", "target_size"))

    def run(self) -> None:
        """Search, save, and print the table."""
        with errors_in_one_line(what_is_left_in(self.args.output, "evoesap_front.json", "front")):
            _run(self.args)


def _run(args: Namespace) -> None:
    check_given_options(args)
    for sparsity in args.sparsities:
        check_option("sparsity", sparsity)

    from ..checkpoint.files import check_front_folder
    from ..pruner import MoEPruner
    from ..reports.outlook import describe_estimate
    from ..search.front import front_configs

    logging.basicConfig(format="%(message)s")
    logging.getLogger("optimum_evoesap").setLevel(logging.INFO)
    configs = front_configs(make_config(args, is_scored=True, sparsity=args.sparsities[0]), args.sparsities)
    check_front_folder(args.output, args.model)
    ranking = read_ranking(args)
    pruner = MoEPruner.from_pretrained(
        args.model,
        # Whether the largest one can be reached is known before any weight is read.
        config=configs[max(configs)],
        tokenizer=getattr(args, "tokenizer", None),
        will_be_read=needed_data(args, is_scored=True),
        **loading_options(args),
        **source_options(args),
    )
    if args.dry_run:
        print(describe_estimate(pruner.estimate(ranking=ranking, sparsities=configs)))
        return
    front = pruner.front(configs, save_directory=args.output, resume=args.resume, ranking=ranking)
    print(f"{front.table()}\n\nSaved in {args.output}. To make the checkpoint of one of them:")
    print(f"optimum-cli evoesap apply --result {args.output}/{front.points[0].folder} -m {args.model} -o CHECKPOINT")
