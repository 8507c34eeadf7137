# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What a card is made of."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from random import Random

from optimum_evoesap.reports.base_card import base_card_metadata
from optimum_evoesap.reports.card import create_model_card
from tests.reports.results import CONFIG, SEARCHED

from .mutations import changed, damaged
from .registry import kind, written


_NAMES = ["a/b", "/home/me/secret cal.jsonl", "a\nb.jsonl", "<img src=x>.jsonl", "a|b", "x" * 300, "a/b:3,c/d"]
_METADATA = {
    "license": "apache-2.0", "license_name": "x", "license_link": "LICENSE", "language": ["en", "de"],
    "datasets": ["a/b"], "tags": ["x"], "pipeline_tag": "text-generation", "base_model": "c/d", "model-index": [],
}  # fmt: skip


def _cards(random: Random) -> tuple[bytes, str, str]:
    readme = f"---\n{json.dumps(changed(random, [_METADATA]))}\n---\n\n# x\n".encode()
    if random.randint(0, 3) == 0:
        readme = damaged(random, b"---\nlicense: mit\ntags: [x]\n---\n# x\n")
    return readme, random.choice(_NAMES), random.choice(_NAMES)


@kind("card", _cards, r".")
def write_card(given: tuple[bytes, str, str], folder: Path) -> None:
    """The metadata of the base model's card and names of data become a card."""
    readme, first, second = given
    base = base_card_metadata(str(written(readme, folder, "README.md")))
    data = {**SEARCHED.data["search"], "description": f"{second}, 64 windows"}
    result = dataclasses.replace(SEARCHED, data={"calibration": data, "search": data})
    config = CONFIG | {"calibration_dataset": first, "search_dataset": second}
    text = str(create_model_card(result, config, base_card_data=base))
    assert "<img" not in text and "/home/me" not in text and "secret" not in text, "a name is published as it is"
