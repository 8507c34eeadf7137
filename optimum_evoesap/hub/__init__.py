# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""From a saved checkpoint to the Hugging Face Hub: the model card and the push."""

from .card import base_card_metadata, create_model_card
from .push import check_push, push_folder
from .remote_code import check_remote_code, set_remote_code


__all__ = [
    "base_card_metadata",
    "check_push",
    "check_remote_code",
    "create_model_card",
    "push_folder",
    "set_remote_code",
]
