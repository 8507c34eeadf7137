# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""`optimum-cli evoesap prune`: the whole way from a model to a smaller checkpoint."""

from __future__ import annotations

import logging
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimum.commands.base import BaseOptimumCLICommand

from .arguments import (
    add_config_options,
    add_model_options,
    add_option,
    check_given_options,
    given_options,
    set_up_parser,
    source_options,
)
from .errors import errors_in_one_line
from .interrupted import what_is_left_in
from .output import (
    add_hub_options,
    add_loading_options,
    add_output_options,
    check_push,
    hub_arguments,
    loading_options,
)


if TYPE_CHECKING:
    from argparse import _ArgumentGroup

    from ..configuration import EvoESAPConfig


class PruneCommand(BaseOptimumCLICommand):
    """Removes experts from a model and saves the result."""

    @staticmethod
    def parse_args(parser: ArgumentParser) -> None:
        """Declare the options."""
        set_up_parser(
            parser,
            "Remove experts from a sparse Mixture-of-Experts model, a searched number from each layer, and save a "
            "plain transformers checkpoint. Example: optimum-cli evoesap prune -m allenai/OLMoE-1B-7B-0125-Instruct "
            "-o olmoe-50 --sparsity 0.5",
            usage="-m MODEL -o OUTPUT [options]",
        )
        model = parser.add_argument_group("model")
        add_model_options(model)
        add_loading_options(model)
        output = parser.add_argument_group("output")
        add_output_options(output)
        add_dry_run(output)
        pruning = parser.add_argument_group("pruning")
        add_run_options(output, pruning)
        add_config_options(pruning)
        add_hub_options(parser.add_argument_group("Hub"))

    def run(self) -> None:
        """Prune, save, push, and print a summary."""
        with errors_in_one_line(what_is_left_in(self.args.output)):
            _run(self.args)


def _run(args: Namespace) -> None:
    check_given_options(args)
    hub = hub_arguments(args)

    from ..checkpoint.files import check_output_folder
    from ..pruner import MoEPruner
    from ..reports.outlook import describe_estimate
    from ..reports.result import PruningResult
    from ..reports.summary import summarize

    # On the terminal the user should read that a killed run goes on; a library should not print it.
    logging.basicConfig(format="%(message)s")
    logging.getLogger("optimum_evoesap").setLevel(logging.INFO)
    config = make_config(args)
    check_output_folder(args.output, args.model)
    check_push(hub, args.output)
    ranking = read_ranking(args)
    pruner = MoEPruner.from_pretrained(
        args.model,
        config=config,
        tokenizer=getattr(args, "tokenizer", None),
        will_be_read=needed_data(args, config.is_searched),
        **loading_options(args),
        **source_options(args),
    )
    if args.dry_run:
        print(describe_estimate(pruner.estimate(ranking=ranking)))
        return
    pruner.prune(args.output, resume=args.resume, remote_code=args.remote_code, ranking=ranking, **hub)
    print(summarize(PruningResult.load(args.output), args.output))


def add_dry_run(output: _ArgumentGroup) -> None:
    """Add the option to stop before the work.

    Args:
        output: The group of options that say where a run writes.
    """
    add_option(
        output,
        "--dry-run",
        default=False,
        action="store_true",
        help="Load the model and the data, time a batch of each kind of work, print about how long the run will "
        "take and what it needs, and stop; nothing is written (default: off)",
    )


def add_run_options(output: _ArgumentGroup, pruning: _ArgumentGroup) -> None:
    """Add the options of a run that searches, beside those of its configuration.

    Args:
        output: The group of options that say where it writes.
        pruning: The group of those that say what it does.
    """
    add_option(
        output,
        "--no-resume",
        dest="resume",
        default=True,
        action="store_false",
        help="Start again, also where a killed run left its state in the output folder (default: go on with it)",
    )
    add_option(
        pruning,
        "-c",
        "--config",
        help="An evoesap_config.json, or the folder or Hub id that has one; options given next to it override it.",
    )
    add_option(
        pruning,
        "--ranking",
        help="What an earlier run measured of this model, in place of calibrating: its evoesap_ranking.json, the "
        "folder that has one, or its repository on the Hub.",
    )


def read_ranking(args: Namespace) -> Path | None:
    """The file of the ranking that was given, fetched where it is on the Hub.

    Raises:
        FileNotFoundError: There is no such file.
        OSError: The Hub has no such repository, or cannot be reached.
    """
    from ..models.hub_file import find_file
    from ..reports.ranking import RANKING_NAME

    if not hasattr(args, "ranking"):
        return None
    return find_file(args.ranking, RANKING_NAME, token=getattr(args, "token", None)).path


def make_config(args: Namespace, is_scored: bool = False, **changes: Any) -> EvoESAPConfig:
    """The configuration file, where there is one, overridden by the options of the command line.

    Args:
        args: The options.
        is_scored: Whether an allocation that is not searched needs search data too.
        **changes: Further fields, which go before the others.

    Raises:
        ValueError: A wrong value, or a sparsity next to removed counts, which would be ignored.
        FileNotFoundError: There is no such file.
        OSError: It is no JSON, or the Hub has none.
    """
    from ..configuration import EvoESAPConfig

    given = given_options(args) | changes
    if hasattr(args, "config"):
        config = _read_config(args.config, getattr(args, "token", None)).replace(**given)
    else:
        config = EvoESAPConfig(**given)
    _check_data_are_named(config, needed_data(args, config.is_searched or is_scored))
    return config


def needed_data(args: Namespace, is_scored: bool) -> list[str]:
    """The kinds of data that the run will read.

    Args:
        args: The options.
        is_scored: Whether it scores allocations.
    """
    return [*([] if hasattr(args, "ranking") else ["calibration"]), *(["search"] if is_scored else [])]


def _check_data_are_named(config: EvoESAPConfig, needed: list[str]) -> None:
    missing = [f"--{kind}-dataset" for kind in needed if getattr(config, f"{kind}_dataset") is None]
    if missing:
        raise ValueError(
            f"The data of this configuration were given in memory, so it names none: give {' and '.join(missing)}."
        )


def _read_config(path: str, token: str | None) -> EvoESAPConfig:
    """The configuration in a file, a folder or a repository on the Hub."""
    from ..configuration import EvoESAPConfig

    file = Path(path, EvoESAPConfig.CONFIG_NAME) if Path(path).is_dir() else Path(path)
    if not file.is_file() and (file.suffix == ".json" or Path(path).is_dir()):
        raise FileNotFoundError(f"There is no configuration file {file}.")
    return EvoESAPConfig.from_pretrained(path, token=token)
