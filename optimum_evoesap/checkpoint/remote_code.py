# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Add to a checkpoint the code that loads it, for people who have transformers but not this package."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from ..heterogeneous.attributes import has_expert_overrides


if TYPE_CHECKING:
    from transformers import PreTrainedModel


logger = logging.getLogger(__name__)

CODE = Path(__file__).with_name("modeling_evoesap.py")


def check_remote_code(model: PreTrainedModel) -> None:
    """Raise where code cannot be added to the checkpoint of a model.

    Raises:
        ValueError: The model's classes are not those of transformers.
    """
    import transformers

    config_class = getattr(transformers, type(model.config).__name__, None)
    is_stock = getattr(transformers, type(model).__name__, None) is type(model)
    if not (is_stock and isinstance(config_class, type) and isinstance(model.config, config_class)):
        raise ValueError(
            f"remote_code=True cannot be used with {type(model).__name__}, which is not a model of transformers: it "
            "brings code of its own, which would have to be changed. Leave remote_code out, and load the pruned model "
            "with optimum_evoesap imported."
        )


def set_remote_code(folder: Path, model: PreTrainedModel, is_wanted: bool) -> bool:
    """Add the code to a saved checkpoint if it is wanted and needed, and remove it where it is not needed.

    Where all layers have the same number of experts it is not: the checkpoint is an ordinary one. A model that was
    itself loaded with this code brings it along when transformers saves it.

    Args:
        folder: The checkpoint, saved from `model`.
        model: The pruned model.
        is_wanted: Whether the user wants the code.

    Returns:
        Whether the checkpoint has the code.
    """
    config_file = folder / "config.json"
    config = json.loads(config_file.read_text())
    auto_map = config.pop("auto_map", {})
    # transformers may have written the name of a repository before it.
    has_code = str(auto_map.get("AutoConfig")).rpartition("--")[2].startswith(f"{CODE.stem}.")
    if not (is_wanted or has_code):
        return False
    # The classes of transformers made this model, so code that the base model had for them no longer applies.
    auto_map = {name: code for name, code in auto_map.items() if not name.startswith(("AutoConfig", "AutoModel"))}
    is_needed = has_expert_overrides(model.config.get_text_config(decoder=True))
    if is_needed:
        shutil.copyfile(CODE, folder / CODE.name)
        auto_map["AutoConfig"] = f"{CODE.stem}.{type(model.config).__name__}"
    else:
        logger.info("The checkpoint needs no code: all sparse layers have the same number of experts.")
        (folder / CODE.name).unlink(missing_ok=True)
    if auto_map:
        config["auto_map"] = auto_map
    config_file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    return is_needed
