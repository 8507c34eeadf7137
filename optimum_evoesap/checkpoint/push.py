# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Send a saved checkpoint to the Hugging Face Hub, as one commit."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Collection
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..reports.result import RESULT_NAME
from ..version import __version__
from .earlier import WEIGHTS, earlier_files


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

    Args:
        folder: A folder written by `save_pretrained`; it must hold a `config.json`.
        repo_id: `namespace/name`, or `name` for a repository of the logged-in user.
        private: Whether a new repository is private; `None` leaves it to the default of the account.
        token: Access token; by default the one of `hf auth login`.
        revision: Branch to push to; by default `main`.
        commit_message: Message of the commit.
        create_pr: Open a pull request against `main` instead of committing to it.
        names: The files of the folder that are pushed; by default all but working files.
        in_place_of: A folder whose files are pushed in place of those of the same names.

    Returns:
        The commit: `commit_url`, `oid` and, for a pull request, `pr_url`.

    Raises:
        FileNotFoundError: The folder, or the `config.json` in it, does not exist.
        ValueError: The repository id is not valid, `create_pr` comes with a branch, or `private=True` is asked of a
            repository that is public.
        huggingface_hub.errors.LocalTokenNotFoundError: Nobody is logged in and no token is given.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    folder = Path(folder)
    _check_folder(folder)
    check_push(repo_id, token=token, revision=revision, create_pr=create_pr)
    api = HfApi(token=token, library_name="optimum-evoesap", library_version=__version__)
    repo_id = _prepare_repository(api, repo_id, private, revision)
    files = {name: folder / name for name in (_files_to_push(folder) if names is None else names)}
    if in_place_of is not None:
        files |= {name: Path(in_place_of) / name for name in _files_to_push(Path(in_place_of))}
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


def plan_push(
    is_wanted: bool, repo_id: str | None, save_directory: str | Path | None, **options: Any
) -> dict[str, Any] | None:
    """What [`push_folder`] will be called with, checked before a long run; `None` where nothing is to be pushed.

    Args:
        is_wanted: Whether the user wants a push.
        repo_id: The repository; by default it is named as the folder.
        save_directory: The output folder, if any.
        **options: As for [`push_folder`].

    Raises:
        ValueError: There is no name for the repository, or options come without a push; and as [`check_push`].
    """
    if not is_wanted:
        given = [name for name, value in {"hub_model_id": repo_id, **options}.items() if value not in (None, False)]
        if given:
            raise ValueError(
                f"{', '.join(given)} would have no effect; add push_to_hub=True to push the pruned model."
            )
        return None
    if repo_id is None and save_directory is None:
        raise ValueError("push_to_hub=True needs hub_model_id, or a save_directory whose name it takes.")
    repo_id = repo_id or Path(str(save_directory)).absolute().name
    check_push(repo_id, **options)
    return {"repo_id": repo_id, **options}


def check_push(
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
    commit_message: str | None = None,
    create_pr: bool = False,
) -> None:
    """Check what can be checked of a push without asking the Hub; a long run does so before it starts.

    Args:
        repo_id: As in [`push_folder`], and so are the others.
        private: Not checked: only the Hub knows what there is.
        token: Access token; by default the one of `hf auth login`.
        revision: Branch to push to.
        commit_message: Not checked.
        create_pr: Whether a pull request against `main` is wanted.

    Raises:
        ValueError: The repository id is not valid, or `create_pr` comes with a branch.
        huggingface_hub.errors.LocalTokenNotFoundError: Nobody is logged in and no token is given.
    """
    _check_target(repo_id, revision, create_pr)
    _check_token(token)


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {str(folder)!r} to push; save the pruned model there first.")
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(
            f"The folder {str(folder)!r} holds no config.json, so it is not a checkpoint; "
            "push the folder that the pruned model was saved to."
        )


def _check_target(repo_id: str, revision: str | None, create_pr: bool) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        if not isinstance(repo_id, str):  # the client takes None for "not required"
            raise HFValidationError(f"It must be a string, not {type(repo_id).__name__}.")
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise ValueError(f"repo_id={repo_id!r} is not a repository of the Hub: {error}") from error
    if create_pr and revision not in (None, "main"):
        raise ValueError(
            f"create_pr=True opens a pull request against main, so revision={revision!r} cannot be used with it; "
            "leave one of the two out."
        )


def _check_token(token: str | bool | None) -> None:
    from huggingface_hub import get_token
    from huggingface_hub.errors import LocalTokenNotFoundError

    # `True` means the stored token to the client, `False` means none.
    if token is False or (not isinstance(token, str) and get_token() is None):
        raise LocalTokenNotFoundError(
            "Pushing to the Hub needs an access token, and none was found: log in with `hf auth login`, or pass "
            "token=. Tokens are made at https://huggingface.co/settings/tokens and need the write permission."
        )


def _prepare_repository(api: HfApi, repo_id: str, private: bool | None, revision: str | None) -> str:
    """Make the repository and the branch where they are missing; return the full repository id."""
    repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
    # `exist_ok` takes an existing repository as it is, also a public one.
    if private and not api.model_info(repo_id).private:
        raise ValueError(
            f"private=True, but the repository {repo_id!r} already exists and is public; nothing was uploaded. "
            "Make it private in its settings, choose another repo_id, or leave private= out."
        )
    if revision not in (None, "main") and not revision.startswith("refs/"):
        api.create_branch(repo_id, branch=revision, exist_ok=True)
    return repo_id


def _files_to_push(folder: Path) -> list[str]:
    """All files below `folder` that are part of the checkpoint, sorted, with `/` between the parts."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(
        path.as_posix()
        for path in paths
        if not any(fnmatchcase(part, pattern) for part in path.parts for pattern in IGNORED)
    )


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
