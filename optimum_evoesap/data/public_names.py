# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`PublicNames`]: how data that were opened by name are called where others read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from .sources import Source, domain_names


LOCAL_DATA = "local data"


@dataclass(frozen=True)
class PublicNames:
    """What a record says of data, without a name of this machine.

    Made when the data are opened: only then it is sure what is a file and what a data set of the Hub.

    Attributes:
        description: As [`TokenizedData.description`].
        dataset: As the user named the data, in the form that [`parse_sources`] reads.
        domains: What each domain is called, by its own name.
    """

    description: str
    dataset: str
    domains: dict[str, str]

    @classmethod
    def of(cls, sources: Sequence[Source], labels: Sequence[str], rest: str, num_samples: int) -> PublicNames:
        """The names of the sources of a mixture.

        Args:
            sources: The sources.
            labels: What the description calls each of them.
            rest: What else the description says.
            num_samples: Windows wanted where no source has a count of its own.
        """
        shown = [_shown(label, source) for label, source in zip(labels, sources)]
        needs_counts = len(sources) > 1 or sources[0].num_samples != num_samples
        parts = [_public(source) + f":{source.num_samples}" * needs_counts for source in sources]
        names = dict(zip(domain_names(sources), sources))
        local = [name for name, source in names.items() if source.is_local]
        numbered = {name: f"{LOCAL_DATA} ({i})" if len(local) > 1 else LOCAL_DATA for i, name in enumerate(local, 1)}
        return cls(f"{' + '.join(shown)}, {rest}", ",".join(parts), {name: name for name in names} | numbered)

    def of_part(self, part: str) -> PublicNames:
        """The names of a part of the data.

        Args:
            part: Which one, in words.
        """
        return replace(self, description=f"{self.description}, {part}")

    def to_json(self) -> dict[str, Any]:
        """The names as JSON values."""
        return {"description": self.description, "dataset": self.dataset, "domains": dict(self.domains)}


def _public(source: Source) -> str:
    return LOCAL_DATA if source.is_local else source.label


def _shown(label: str, source: Source) -> str:
    """A label, which may tell a number after the name, without the name of a file."""
    return LOCAL_DATA + label.removeprefix(source.label) if source.is_local else label
