# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Send a saved checkpoint to the Hugging Face Hub, as one commit."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Collection
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from ..reports.result import RESULT_NAME
from ..version import __version__
from .earlier import WEIGHTS, earlier_files
from .exchange import file_names
from .public_files import own_files, write_public_files_of
from .push_checks import check_is_private, check_push, unreachable


if TYPE_CHECKING:
    from huggingface_hub import CommitInfo, HfApi


logger = logging.getLogger(__name__)

# Working files of a run and of the system; a pattern is compared with every part of a file's path.
IGNORED = (".evoesap*", "*.partial", ".cache", ".git", ".DS_Store", "__pycache__")
DEFAULT_MESSAGE = "Upload a model pruned with optimum-evoesap"


def push_folder(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
    commit_message: str | None = None,
    create_pr: bool = False,
    names: Collection[str] | None = None,
    in_place_of: str | Path | None = None,
) -> CommitInfo:
    """Push the checkpoint in `folder` to the Hub, as exactly one commit.

    The repository and the branch are made if they do not exist. Files of an earlier result in the
    repository, and other weights, that are not part of this checkpoint are removed in the same commit: transformers
    would load an old `model.safetensors` before the shards of the new model, and an old chat template with it.
    Result and configuration are sent without the names of files and folders of this machine.

    Args:
        folder: A folder written by `save_pretrained`; it must hold a `config.json`.
        repo_id: `namespace/name`, or `name` for a repository of the logged-in user.
        private: Whether a new repository is private; `None` leaves it to the default of the account.
        token: Access token; by default the one of `hf auth login`.
        revision: Branch to push to; by default `main`.
        commit_message: Message of the commit.
        create_pr: Open a pull request against `main` instead of committing to it.
        names: The files of the folder that are pushed; by default those that its result lists or, where no result
            does, those that transformers writes. A warning names the others.
        in_place_of: A folder whose files are pushed in place of those of the same names.

    Returns:
        The commit: `commit_url`, `oid` and, for a pull request, `pr_url`.

    Raises:
        FileNotFoundError: The folder, or the `config.json` in it, does not exist.
        ValueError: The repository id is not valid, `create_pr` comes with a branch, or `private=True` is asked of a
            repository that is public.
        OSError: The Hub cannot be reached or refuses the push.
        huggingface_hub.errors.LocalTokenNotFoundError: Nobody is logged in and no token is given.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HTTPError

    folder = Path(folder).expanduser()
    _check_folder(folder)
    check_push(repo_id, token=token, revision=revision, create_pr=create_pr)
    api = HfApi(token=token, library_name="optimum-evoesap", library_version=__version__)
    files = {name: folder / name for name in (files_to_push(folder) if names is None else names)}
    with tempfile.TemporaryDirectory() as public:
        if in_place_of is None:
            write_public_files_of(folder, files, Path(public))
            in_place_of = public
        files |= {name: Path(in_place_of) / name for name in file_names(Path(in_place_of))}
        try:
            return _commit(api, repo_id, files, private, revision, commit_message, create_pr)
        except HfHubHTTPError:
            raise
        except HTTPError as error:
            raise unreachable(error) from error


def _commit(
    api: HfApi,
    repo_id: str,
    files: dict[str, Path],
    private: bool | None,
    revision: str | None,
    commit_message: str | None,
    create_pr: bool,
) -> CommitInfo:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    repo_id = _prepare_repository(api, repo_id, private, revision)
    # Not `upload_folder`: where hf_xet is installed it cuts a large folder into several commits, and a push that
    # breaks off in between would leave a repository with half a model in it.
    return api.create_commit(
        repo_id,
        [
            *(CommitOperationAdd(path_in_repo=name, path_or_fileobj=path) for name, path in sorted(files.items())),
            *(CommitOperationDelete(path_in_repo=name) for name in _stale_files(api, repo_id, revision, list(files))),
        ],
        commit_message=commit_message or DEFAULT_MESSAGE,
        revision=revision,
        create_pr=create_pr,
    )


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {str(folder)!r} to push; save the pruned model there first.")
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(
            f"The folder {str(folder)!r} holds no config.json, so it is not a checkpoint; "
            "push the folder that the pruned model was saved to."
        )


def _prepare_repository(api: HfApi, repo_id: str, private: bool | None, revision: str | None) -> str:
    """Make the repository and the branch where they are missing; return the full repository id."""
    repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
    if private:
        check_is_private(api, repo_id)  # `exist_ok` takes an existing repository as it is, also a public one
    if revision not in (None, "main") and not revision.startswith("refs/"):
        api.create_branch(repo_id, branch=revision, exist_ok=True)
    return repo_id


def files_to_push(folder: Path) -> list[str]:
    """The files of a checkpoint; a warning names the others, as somebody may have thought that they go along.

    Args:
        folder: The folder of the checkpoint.
    """
    own, others = own_files(folder)
    others = [each for each in others if not any(fnmatchcase(p, i) for p in Path(each).parts for i in IGNORED)]
    if others:
        logger.warning(
            "Of %s these files are not pushed, as they are not of the checkpoint: %s%s.",
            folder,
            ", ".join(others[:5]),
            " and more" if len(others) > 5 else "",
        )
    return own


def _stale_files(api: HfApi, repo_id: str, revision: str | None, names: list[str]) -> list[str]:
    """Files in the repository that would mix an earlier checkpoint with the one of `names`."""
    if not any(fnmatchcase(name, pattern) for name in names for pattern in WEIGHTS):
        return []
    present = api.list_repo_files(repo_id, revision=revision)
    record = None
    if RESULT_NAME in present:
        # Not from the cache of another revision, and not kept there: it is about to be replaced.
        with tempfile.TemporaryDirectory() as folder:
            path = api.hf_hub_download(repo_id, RESULT_NAME, revision=revision, local_dir=folder)
            record = Path(path).read_bytes()
    stale = [name for name in earlier_files(record, present) if name not in names]
    if stale:
        logger.info("Removing files of an earlier checkpoint from %s: %s", repo_id, ", ".join(stale))
    return stale
