# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Data that are opened by name: Hub data sets, local files and folders, and mixtures of them."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

from .absent import without_absent
from .json_files import is_json_file, read_json_file
from .options import DataError, DataOptions


if TYPE_CHECKING:
    from datasets import IterableDataset

# The configuration of data sets that have several, where the user names none.
KNOWN_CONFIG_NAMES = {"allenai/c4": "en", "Salesforce/wikitext": "wikitext-103-raw-v1"}
# The builder of `datasets` that reads a file. A text file gives one document a line.
BUILDERS = {".json": "json", ".jsonl": "json", ".parquet": "parquet", ".txt": "text"}
COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")
# Rows that the shuffle of a stream chooses from.
SHUFFLE_BUFFER_SIZE = 10_000

# A column of our own, of the number of a row before the shuffle.
_INDEX = "evoesap row index"

HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
PATH_START = re.compile(r"[/~]|\.{1,2}[/\\]|[A-Za-z]:[/\\]")


class NumberedRow(NamedTuple):
    """A row of a file.

    Attributes:
        row: What it holds.
        number: Its place in the file, from 1 on.
    """

    row: Any
    number: int


@dataclass(frozen=True)
class Source:
    """One data set of a mixture.

    Attributes:
        name: Name on the Hub, or path.
        num_samples: Windows wanted of it.
        revision: Branch, tag or commit on the Hub.
        is_local: Whether it is a file or folder of this machine, of which no name is published.
    """

    name: str
    num_samples: int
    revision: str | None = None
    is_local: bool = False

    @property
    def label(self) -> str:
        """The name to show; a path is shortened to its last part."""
        name = PurePath(self.name).name if self.is_local else self.name
        return f"{name}@{self.revision}" if self.revision else name


def parse_sources(text: str, options: DataOptions) -> list[Source]:
    """Read `name`, `name:samples`, `name@revision:samples` or several of these with commas between.

    Only digits after the last colon are a count, so that paths with a colon are safe; an existing path is taken as
    it is, even with a comma in it. Names without a count share, as equally as possible, what the counts leave of
    `options.num_samples`.

    Args:
        text: What the user wrote.
        options: For `num_samples`, and the `revision` of a single name.

    Raises:
        DataError: The text does not follow this form, or a path does not exist.
    """
    whole = _parse_one(text)
    is_path = os.path.exists(whole[0])
    parsed = [whole] if is_path else [_parse_one(piece) for piece in text.split(",")]
    for name, _, _ in parsed:
        _check_name(name, text)
    if options.revision and len(parsed) > 1:
        raise DataError(f"`revision` is {options.revision!r} for the mixture {text!r}: write `name@revision` instead")
    counts = _fill_counts([count for _, _, count in parsed], options.num_samples, text)
    return [
        Source(name, count, None if os.path.exists(name) else revision or options.revision, os.path.exists(name))
        for (name, revision, _), count in zip(parsed, counts)
    ]


def domain_names(sources: Sequence[Source]) -> list[str]:
    """What each source is called as a domain: its label, with a number where another one has the same.

    Args:
        sources: The sources of a mixture.
    """
    alike: dict[str, list[Source]] = {}
    for source in sources:
        others = alike.setdefault(source.label, [])
        if all((source.name, source.revision) != (other.name, other.revision) for other in others):
            others.append(source)
    names = {
        (one.name, one.revision): f"{label} ({number})" if len(others) > 1 else label
        for label, others in alike.items()
        for number, one in enumerate(others, 1)
    }
    return [names[source.name, source.revision] for source in sources]


def open_source(source: Source, options: DataOptions, is_shuffled: bool = True) -> Iterable[Any]:
    """Open a source as a stream of rows.

    Args:
        source: What to open.
        options: For `split`, `config_name` and `seed`.
        is_shuffled: Shuffle them, for which thousands are read before the first comes; otherwise in their order.

    Raises:
        DataError: The Hub or the folder has no such data, configuration or split, or the file is of an unknown kind;
            or, while the rows are read, one of them is malformed.
    """
    from datasets import IterableDataset, load_dataset

    if os.path.isfile(source.name) and is_json_file(source.name):
        rows = IterableDataset.from_generator(read_json_file, gen_kwargs={"path": source.name})
        rows = _ordered(rows, options, is_shuffled)
        return (NumberedRow(item["row"], item["number"]) for item in _readable(rows, source))
    if os.path.isfile(source.name):
        # `datasets` takes a file name for a pattern: without the escape, brackets in it match nothing.
        files = glob.escape(source.name)
        arguments: dict[str, Any] = {"path": _builder(source.name), "data_files": files, "split": "train"}
    else:
        config_name = options.config_name or KNOWN_CONFIG_NAMES.get(source.name)
        arguments = {"path": source.name, "name": config_name, "split": options.split, "revision": source.revision}
    try:
        dataset = load_dataset(**arguments, streaming=True)
    except StopIteration as error:
        # What the json builder of `datasets` raises for files without a row.
        raise DataError(f"{source.label} is empty: it holds no row") from error
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError) and not _is_damage(error, source):
            raise
        raise DataError(f"the data set {source.name!r} cannot be opened: {error}") from error
    features = dataset.features
    if os.path.isfile(source.name):
        dataset = dataset.map(lambda _, index: {_INDEX: index}, with_indices=True)
    return _from_arrow(_ordered(dataset, options, is_shuffled), features, source)


def _ordered(rows: IterableDataset, options: DataOptions, is_shuffled: bool) -> IterableDataset:
    return rows.shuffle(seed=options.seed, buffer_size=SHUFFLE_BUFFER_SIZE) if is_shuffled else rows


def _from_arrow(rows: Iterable[dict[str, Any]], features: Any, source: Source) -> Iterator[Any]:
    """The rows without what Arrow filled in, and with their numbers in a file."""
    for row in _readable(rows, source):
        index = row.pop(_INDEX, None)
        row = without_absent(row, features)
        yield row if index is None else NumberedRow(row, index + 1)


def _readable(rows: Iterable[dict[str, Any]], source: Source) -> Iterator[dict[str, Any]]:
    """The rows; what the readers of `datasets` say of a malformed one does not name the file."""
    try:
        yield from rows
    except (DataError, ImportError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and not _is_damage(error, source):
            raise
        raise DataError(f"{source.label} cannot be read: {error}") from error


def _is_damage(error: OSError, source: Source) -> bool:
    """Whether a file cannot be understood; what the system refuses has a number, and names the file."""
    return error.errno is None and os.path.isfile(source.name)


def _parse_one(piece: str) -> tuple[str, str | None, int | None]:
    """Split one name into the name proper, its revision and its count."""
    name, revision, count = os.path.expanduser(piece.strip()), None, None
    if os.path.exists(name):
        return name, revision, count
    counted = re.fullmatch(r"(.+):([0-9]+)", name, re.DOTALL)
    if counted:
        name, count = counted[1], int(counted[2])
    pinned = re.fullmatch(rf"({HUB_NAME.pattern})@([\w./-]+)", name)
    if pinned and not os.path.exists(name):
        name, revision = pinned[1], pinned[3]
    return name, revision, count


def _check_name(name: str, text: str) -> None:
    """Raise where a name is neither an existing path nor a possible name on the Hub."""
    if os.path.exists(name):
        return
    suffixes = {*BUILDERS, *COMPRESSIONS}
    if PATH_START.match(name) or "\\" in name or PurePath(name).suffix in suffixes or name.count("/") > 1:
        raise DataError(f"the path {name!r} does not exist")
    if not HUB_NAME.fullmatch(name):
        shown = text if len(text) <= 200 else f"{text[:200]}..."
        raise DataError(
            f"{name[:200]!r} in {shown!r} is neither a path nor a data set name. Write `name`, `name:samples` or "
            "`name:samples,name:samples`; give texts as a list of strings"
        )


def _fill_counts(counts: list[int | None], num_samples: int, text: str) -> list[int]:
    """Give the names without a count equal shares of what the others leave of `num_samples`."""
    if 0 in counts:
        raise DataError(f"the mixture {text!r} asks for 0 samples: leave that name out")
    given = sum(count for count in counts if count is not None)
    open_names = counts.count(None)
    if open_names and num_samples - given < open_names:
        raise DataError(
            f"the mixture {text!r} leaves {max(num_samples - given, 0)} of {num_samples} samples for {open_names} "
            "names without a count: ask for more samples or write a count after each name"
        )
    share, rest = divmod(num_samples - given, open_names) if open_names else (0, 0)
    shares = iter([share + 1] * rest + [share] * (open_names - rest))
    return [next(shares) if count is None else count for count in counts]


def _builder(path: str) -> str:
    """Return the builder of `datasets` for a file."""
    suffixes = [suffix for suffix in PurePath(path).suffixes if suffix not in COMPRESSIONS]
    if not suffixes or suffixes[-1] not in BUILDERS:
        raise DataError(f"the file {path!r} is of an unknown kind; known are {', '.join(BUILDERS)}")
    return BUILDERS[suffixes[-1]]
