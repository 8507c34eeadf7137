# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Command line options of the commands that make a checkpoint: how the model is loaded, where it goes, the push."""

from __future__ import annotations

import os
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from .arguments import DTYPES, add_option, parse_device_map


if TYPE_CHECKING:
    from argparse import _ArgumentGroup


# Options of a push, and what they are called as arguments.
_REPOSITORY = {
    "hub_model_id": "hub_model_id",
    "hub_revision": "revision",
    "private": "private",
    "commit_message": "commit_message",
    "create_pr": "create_pr",
}


def add_loading_options(group: _ArgumentGroup) -> None:
    """Add the options that say how the model is loaded."""
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
    add_option(
        group,
        "--dequantize",
        default=False,
        action="store_true",
        help="Undo the quantization of the checkpoint while it loads, where transformers can, as of FP8 and MXFP4 "
        "(default: off, and quantized checkpoints are refused)",
    )


def loading_options(args: Namespace) -> dict[str, Any]:
    """The options of `add_loading_options`, but for the tokenizer, as arguments of `from_pretrained`."""
    return {"dtype": args.dtype, "device_map": args.device_map} | ({"dequantize": True} if args.dequantize else {})


def add_output_options(group: _ArgumentGroup) -> None:
    """Add the options that say where the pruned model goes, and what goes with it."""
    add_option(
        group,
        "-o",
        "--output",
        required=True,
        type=os.path.expanduser,
        help="New or empty folder for the pruned model, or one with an earlier result, which is then replaced.",
    )
    add_option(
        group,
        "--remote-code",
        default=False,
        action="store_true",
        help="Also save code with which transformers loads a non-uniform result without this package, where the one "
        "who loads it trusts remote code (default: off)",
    )


def add_hub_options(group: _ArgumentGroup) -> None:
    """Add the options of the push."""
    add_option(
        group, "--push-to-hub", default=False, action="store_true", help="Also push the checkpoint (default: off)"
    )
    add_repository_options(group)


def add_repository_options(group: _ArgumentGroup) -> None:
    """Add the options that say where a push goes, and how."""
    add_option(group, "--hub-model-id", help="Repository to push to (default: the name of the folder)")
    add_option(group, "--hub-revision", help="Branch to push to (default: main)")
    add_option(group, "--private", action="store_true", help="Make a new repository private (default: as the account)")
    add_option(group, "--commit-message", help="Message of the commit.")
    add_option(group, "--create-pr", action="store_true", help="Open a pull request, not a commit (default: off)")


def check_push(hub: dict[str, Any], output: str) -> None:
    """Find out before the work what can be wrong with a push that comes at its end.

    Args:
        hub: What `hub_arguments` gave.
        output: The output folder.

    Raises:
        ValueError: The name of the repository is not valid, or options exclude each other.
        OSError: Nobody is logged in, and no token was given.
    """
    from ..checkpoint.push_checks import plan_push

    options = {name: value for name, value in hub.items() if name not in ("push_to_hub", "hub_model_id")}
    plan_push(hub.get("push_to_hub", False), hub.get("hub_model_id"), output, **options)


def hub_arguments(args: Namespace) -> dict[str, Any]:
    """The options of `add_hub_options` as arguments of `MoEPruner.prune`.

    Raises:
        ValueError: Options that say how to push, without `--push-to-hub`.
    """
    given = {name: getattr(args, name) for name in _REPOSITORY if hasattr(args, name)}
    if not args.push_to_hub:
        if given:
            options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise ValueError(f"{options} would have no effect; add --push-to-hub to push the pruned model.")
        return {}
    return repository_arguments(args) | {"push_to_hub": True}


def repository_arguments(args: Namespace) -> dict[str, Any]:
    """The options of `add_repository_options`, and the token, as arguments of `MoEPruner.prune`."""
    token = {"token": args.token} if hasattr(args, "token") else {}
    return {to: getattr(args, name) for name, to in _REPOSITORY.items() if hasattr(args, name)} | token
