# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The options by which text becomes windows of tokens, and the error for data that cannot be used."""

from __future__ import annotations

from dataclasses import dataclass


SCORED_TOKENS = ("auto", "all", "answers")


class DataError(ValueError):
    """The data, or the way they are named, cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class DataOptions:
    """How text becomes windows of tokens.

    Attributes:
        num_samples: Windows wanted. A mixture that writes a count after every name overrides it by their sum.
        sequence_length: Tokens of a window.
        seed: Seed of the shuffle of data that are opened by name. Data given as objects keep their order.
        packing: `True`: documents one after another, cut into windows of `sequence_length` tokens. `False`: one
            document a window, truncated to `sequence_length` (and padded on the right when batched).
        scored_tokens: `"auto"`: the answers where the layout has answers, else every token; `"all"`; `"answers"`.
        columns: Own column names by the usual ones: `{"text": "body"}`, `{"prompt": "q", "response": "a"}` or
            `{"messages": "dialogue"}`.
        skip_unusable_rows: `True`: leave out a row that cannot be read, or that the chat template refuses, and say how
            many there were. `False`: such a row is an error that names it.
        split: Split of a Hub data set, of a folder or of a `DatasetDict`. A single file has no splits.
        config_name: Configuration of a Hub data set or a folder, such as `"en"`; `None` takes the known one. In a
            mixture it goes to every name that is not a file.
        revision: Branch, tag or commit of a Hub data set. In a mixture write `name@revision`.

    Raises:
        DataError: A value that no data can satisfy; the message names the field, the value and the remedy.
    """

    num_samples: int
    sequence_length: int
    seed: int = 42
    packing: bool = True
    scored_tokens: str = "auto"
    columns: dict[str, str] | None = None
    skip_unusable_rows: bool = False
    split: str = "train"
    config_name: str | None = None
    revision: str | None = None

    def __post_init__(self) -> None:
        if self.num_samples < 1:
            raise DataError(f"`num_samples` is {self.num_samples}: ask for at least 1 window")
        if self.sequence_length < 2:
            raise DataError(
                f"`sequence_length` is {self.sequence_length}: a window needs at least 2 tokens, since the first "
                "one is never scored"
            )
        if self.scored_tokens not in SCORED_TOKENS:
            raise DataError(f"`scored_tokens` is {self.scored_tokens!r}: choose one of {', '.join(SCORED_TOKENS)}")
