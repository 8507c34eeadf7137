# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Windows of tokens, ready for a model: `TokenizedData`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

from .options import DataError
from .public_names import PublicNames


# The label of a token that is not scored, as everywhere in transformers.
IGNORE_INDEX = -100
PADDING = {"input_ids": 0, "labels": IGNORE_INDEX, "attention_mask": 0}
# The tensors with an entry a token. A sequence with any other (pixels, say) stands alone in its batch.
TOKEN_TENSORS = ("input_ids", "labels", "attention_mask", "position_ids")


@dataclass(frozen=True, eq=False)
class TokenizedData:
    """Windows of tokens with a mark on the scored ones.

    Attributes:
        sequences: One dict a window, of 1-D int64 tensors of one length: `input_ids`; `labels`, equal to `input_ids`
            where the token is scored and -100 elsewhere (not shifted); optionally `attention_mask`; and, for packed
            windows, `position_ids`, which restart at each document. A window may have further tensors, such as
            `pixel_values`, in any shape and dtype that the model takes for a batch of this window alone. The tensors
            must not be changed afterwards.
        description: What the data are, in words.
        domains: The domain of each window, such as the data set that it is of; `None` where that is not known. No
            score of a window depends on it, so it is no part of the fingerprint.
        public: How the data are called where others read it; `None` where they were not opened by name.

    Raises:
        DataError: Only some of the sequences that can share a batch have `position_ids`, or `domains` are of more or
            fewer windows.
    """

    sequences: list[dict[str, torch.Tensor]]
    description: str
    domains: tuple[str, ...] | None = None
    public: PublicNames | None = None

    def __post_init__(self) -> None:
        if self.domains is not None and len(self.domains) != len(self.sequences):
            raise DataError(
                f"there are {len(self.domains)} `domains` for {len(self.sequences)} sequences: give one each"
            )
        if len({"position_ids" in sequence for sequence in self.sequences if not stands_alone(sequence)}) > 1:
            raise DataError("only some of the sequences have `position_ids`: give them for all or for none")

    def __len__(self) -> int:
        """The number of windows."""
        return len(self.sequences)

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 (hexadecimal) of names, shapes, dtypes and values of all tensors; the same in every process."""
        digest = hashlib.sha256()
        for sequence in self.sequences:
            for name, tensor in sorted(sequence.items()):
                dtype = "" if tensor.dtype == torch.int64 else tensor.dtype
                digest.update(f"{name}{tuple(tensor.shape)}{dtype}".encode())
                # Seen as bytes, since numpy does not know every dtype.
                digest.update(tensor.cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    @property
    def mixture(self) -> tuple[str, ...]:
        """The domain of each window, where there are several; otherwise empty."""
        return self.domains if self.domains is not None and len(set(self.domains)) > 1 else ()

    @property
    def num_tokens(self) -> int:
        """The number of real tokens, without padding."""
        masks = (sequence.get("attention_mask") for sequence in self.sequences)
        lengths = (len(sequence["input_ids"]) for sequence in self.sequences)
        return sum(length if mask is None else int(mask.sum()) for mask, length in zip(masks, lengths))

    @property
    def num_scored_tokens(self) -> int:
        """The number of scored tokens."""
        return sum(int((sequence["labels"] != IGNORE_INDEX).sum()) for sequence in self.sequences)

    def batches(self, batch_size: int, device: torch.device | str | None = None) -> Iterator[dict[str, torch.Tensor]]:
        """Yield the windows in order, collated and padded on the right to the longest of the batch.

        An attention mask switches off the isolation of packed documents in transformers. Windows with `position_ids`
        are therefore never padded: a shorter one starts a batch of its own, which may leave a batch incomplete. A
        window with further tensors is a batch of its own.

        Args:
            batch_size: Most windows of a batch.
            device: Where the tensors go; `None` leaves them where they are.

        Returns:
            Batches of tensors of shape (windows, longest window): `input_ids`, `labels`, `position_ids` where the
            windows have them, and `attention_mask` where a token is padding or a window brought its own. Further
            tensors keep their shapes.

        Raises:
            ValueError: `batch_size` is below 1.
        """
        if batch_size < 1:
            raise ValueError(f"`batch_size` is {batch_size}: it must be at least 1")
        group: list[dict[str, torch.Tensor]] = []
        for sequence in self.sequences:
            if len(group) == batch_size or (group and not _fits(sequence, group[0])):
                yield _collate(group, device)
                group = []
            group.append(sequence)
        if group:
            yield _collate(group, device)

    def split(self, num_last: int) -> tuple[TokenizedData, TokenizedData]:
        """Split off the last `num_last` windows; return the first ones and the last ones.

        Raises:
            ValueError: `num_last` is negative, or would leave no first window.
        """
        if not 0 <= num_last < max(len(self), 1):
            raise ValueError(f"`num_last` is {num_last}, but there are {len(self)} windows and one must stay")
        middle, total = len(self) - num_last, len(self)
        first, last = (self.domains[:middle], self.domains[middle:]) if self.domains is not None else (None, None)
        return (
            self._part(self.sequences[:middle], f"the first {middle} of {total}", first),
            self._part(self.sequences[middle:], f"the last {num_last} of {total}", last),
        )

    def _part(
        self, sequences: list[dict[str, torch.Tensor]], part: str, domains: tuple[str, ...] | None
    ) -> TokenizedData:
        public = None if self.public is None else self.public.of_part(part)
        return TokenizedData(sequences, f"{self.description}, {part}", domains, public)

    def summary(self) -> dict[str, Any]:
        """Return what a record of a run keeps of its data."""
        public = {} if self.public is None else {"public": self.public.to_json()}
        return {
            "description": self.description,
            "fingerprint": self.fingerprint,
            "sequences": len(self),
            "tokens": self.num_tokens,
            "scored_tokens": self.num_scored_tokens,
            **public,
        }


def stands_alone(sequence: Mapping[str, torch.Tensor]) -> bool:
    """Whether a window has tensors that no other window can share a batch with."""
    return not sequence.keys() <= set(TOKEN_TENSORS)


def _fits(sequence: dict[str, torch.Tensor], first: dict[str, torch.Tensor]) -> bool:
    """Whether `sequence` may share a batch with `first`."""
    if stands_alone(sequence) or stands_alone(first):
        return False
    return "position_ids" not in sequence or len(sequence["input_ids"]) == len(first["input_ids"])


def _collate(group: list[dict[str, torch.Tensor]], device: torch.device | str | None) -> dict[str, torch.Tensor]:
    """Stack windows, padded on the right, with an attention mask where one is needed."""
    if stands_alone(group[0]):
        # Positions may have an axis for height and width in front, and then have one for the batch as well.
        bare = {name for name in TOKEN_TENSORS if name in group[0] and group[0][name].ndim == 1}
        return {name: (tensor[None] if name in bare else tensor).to(device) for name, tensor in group[0].items()}
    padded = len({len(sequence["input_ids"]) for sequence in group}) > 1
    if padded or any("attention_mask" in sequence for sequence in group):
        group = [{"attention_mask": torch.ones_like(sequence["input_ids"]), **sequence} for sequence in group]
    return {
        name: pad_sequence(
            [sequence[name] for sequence in group], batch_first=True, padding_value=PADDING.get(name, 0)
        ).to(device)
        for name in group[0]
    }
