# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""`optimum-cli evoesap prune`: the whole way from a model to a smaller checkpoint."""

from __future__ import annotations

import logging
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimum.commands.base import BaseOptimumCLICommand

from .arguments import (
    DTYPES,
    add_config_options,
    add_model_options,
    add_option,
    given_options,
    parse_device_map,
    set_up_parser,
    source_options,
)
from .errors import errors_in_one_line


if TYPE_CHECKING:
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
        _add_loading_options(model)
        _add_output_options(parser.add_argument_group("output"))
        pruning = parser.add_argument_group("pruning")
        add_option(
            pruning,
            "-c",
            "--config",
            help="An evoesap_config.json, or the folder or Hub id that has one; options given next to it override it.",
        )
        add_config_options(pruning)
        _add_hub_options(parser.add_argument_group("Hub"))

    def run(self) -> None:
        """Prune, save, push, and print a summary."""
        with errors_in_one_line():
            _run(self.args)


def _add_loading_options(group: Any) -> None:
    add_option(group, "--tokenizer", help="Folder or Hub id of the tokenizer (default: the one with the model)")
    add_option(
        group,
        "--dtype",
        default="auto",
        choices=DTYPES,
        help="Number format of the weights; auto takes the checkpoint's own (default: auto)",
    )
    add_option(
        group,
        "--device-map",
        default="auto",
        type=parse_device_map,
        help="Where the model is put: auto (the available accelerators), a device such as cuda:0, none (the CPU), or "
        "a JSON object from module to device (default: auto)",
    )


def _add_output_options(group: Any) -> None:
    add_option(
        group,
        "-o",
        "--output",
        required=True,
        help="New or empty folder for the pruned model, or one with an earlier result, which is then replaced.",
    )
    add_option(
        group,
        "--no-resume",
        dest="resume",
        default=True,
        action="store_false",
        help="Start again, also where a killed run left its state in the output folder (default: go on with it)",
    )
    add_option(
        group,
        "--remote-code",
        default=False,
        action="store_true",
        help="Also save code with which transformers loads a non-uniform result without this package, where the one "
        "who loads it trusts remote code (default: off)",
    )


def _add_hub_options(group: Any) -> None:
    add_option(
        group, "--push-to-hub", default=False, action="store_true", help="Also push the checkpoint (default: off)"
    )
    add_option(group, "--hub-model-id", help="Repository to push to (default: the name of the output folder)")
    add_option(group, "--hub-revision", help="Branch to push to (default: main)")
    add_option(group, "--private", action="store_true", help="Make a new repository private (default: as the account)")
    add_option(group, "--commit-message", help="Message of the commit.")
    add_option(group, "--create-pr", action="store_true", help="Open a pull request, not a commit (default: off)")


def _run(args: Namespace) -> None:
    from ..checkpoint.files import check_output_folder
    from ..pruner import MoEPruner
    from ..reports.result import PruningResult
    from ..reports.summary import summarize

    hub_arguments = _hub_arguments(args)
    # On the terminal the user should read that a killed run goes on; a library should not print it.
    logging.basicConfig(format="%(message)s")
    logging.getLogger("optimum_evoesap").setLevel(logging.INFO)
    check_output_folder(args.output, args.model)
    pruner = MoEPruner.from_pretrained(
        args.model,
        config=make_config(args),
        tokenizer=getattr(args, "tokenizer", None),
        dtype=args.dtype,
        device_map=args.device_map,
        **source_options(args),
    )
    pruner.prune(args.output, resume=args.resume, remote_code=args.remote_code, **hub_arguments)
    print(summarize(PruningResult.load(args.output), args.output))


def make_config(args: Namespace) -> EvoESAPConfig:
    """The configuration file, where there is one, overridden by the options of the command line.

    Raises:
        ValueError: A wrong value, or a sparsity next to removed counts, which would be ignored.
        FileNotFoundError: There is no such file.
        OSError: It is no JSON, or the Hub has none.
    """
    from ..configuration import EvoESAPConfig

    given = given_options(args)
    if hasattr(args, "config"):
        config = _read_config(args.config, getattr(args, "token", None)).replace(**given)
    else:
        config = EvoESAPConfig(**given)
    _check_data_are_named(config)
    return config


def _check_data_are_named(config: EvoESAPConfig) -> None:
    needed = ("calibration", "search") if config.is_searched else ("calibration",)
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


def _hub_arguments(args: Namespace) -> dict[str, Any]:
    """The Hub options as arguments of `MoEPruner.prune`.

    Raises:
        ValueError: Options that say how to push, without `--push-to-hub`.
    """
    names = {
        "hub_model_id": "hub_model_id",
        "hub_revision": "revision",
        "private": "private",
        "commit_message": "commit_message",
        "create_pr": "create_pr",
    }
    given = {name: getattr(args, name) for name in names if hasattr(args, name)}
    if not args.push_to_hub:
        if given:
            options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise ValueError(f"{options} would have no effect; add --push-to-hub to push the pruned model.")
        return {}
    token = {"token": args.token} if hasattr(args, "token") else {}
    return {names[name]: value for name, value in given.items()} | token | {"push_to_hub": True}
