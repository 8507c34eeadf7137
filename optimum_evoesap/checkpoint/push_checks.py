# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Whether a push can succeed, found out before the long work that it comes after."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..models.hub_file import check_token
from ..version import __version__


if TYPE_CHECKING:
    from huggingface_hub import HfApi


def plan_push(
    is_wanted: bool, repo_id: str | None, save_directory: str | Path | None, **options: Any
) -> dict[str, Any] | None:
    """What [`~push.push_folder`] will be called with, checked before a long run; `None` where nothing is to be pushed.

    Args:
        is_wanted: Whether the user wants a push.
        repo_id: The repository; by default it is named as the folder.
        save_directory: The output folder, if any.
        **options: As for [`~push.push_folder`].

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
        repo_id: As in [`~push.push_folder`], and so are the others.
        private: Not checked: only the Hub knows what there is.
        token: Access token; by default the one of `hf auth login`.
        revision: Branch to push to.
        commit_message: Not checked.
        create_pr: Whether a pull request against `main` is wanted.

    Raises:
        ValueError: The repository id or the token is not valid, or `create_pr` comes with a branch.
        huggingface_hub.errors.LocalTokenNotFoundError: Nobody is logged in and no token is given.
    """
    _check_target(repo_id, revision, create_pr)
    _check_token(token)


def check_hub(
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
    commit_message: str | None = None,
    create_pr: bool = False,
) -> None:
    """Ask the Hub what can be known of a push before it: whether it takes the token, and what the repository is.

    Args:
        repo_id: As in [`check_push`], and so are the others.
        private: Whether a new repository is private.
        token: Access token.
        revision: Not checked: a branch is made.
        commit_message: Not checked.
        create_pr: Not checked.

    Raises:
        ValueError: The Hub does not take the token, it may only read, or `private=True` is asked of a repository that
            is public.
        OSError: The Hub cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HTTPError, RepositoryNotFoundError

    api = HfApi(token=token, library_name="optimum-evoesap", library_version=__version__)
    try:
        me = api.whoami()
        if private:
            name = repo_id if "/" in repo_id else f"{me['name']}/{repo_id}"
            check_is_private(api, name)
    except RepositoryNotFoundError:
        pass  # it will be made
    except HfHubHTTPError as error:
        if error.response.status_code not in (401, 403):
            raise
        raise ValueError(
            "The Hub does not take the access token, so nothing could be pushed after the work: log in again with "
            "`hf auth login`, or pass another one as token=."
        ) from error
    except HTTPError as error:
        raise unreachable(error) from error
    role = me.get("auth", {}).get("accessToken", {}).get("role")
    if role == "read":
        raise ValueError("The access token may only read, so nothing could be pushed: take one with write permission.")


def check_is_private(api: HfApi, repo_id: str) -> None:
    """Raise where a repository is public that is to be private.

    Args:
        api: The client.
        repo_id: The full id of the repository.

    Raises:
        ValueError: It is public.
        huggingface_hub.errors.RepositoryNotFoundError: There is none.
    """
    if not api.model_info(repo_id).private:
        raise ValueError(
            f"private=True, but the repository {repo_id!r} already exists and is public; nothing was uploaded. "
            "Make it private in its settings, choose another repo_id, or leave private= out."
        )


def unreachable(error: Exception) -> OSError:
    """The error of a connection as one that users and the command line know.

    Args:
        error: What the client raised.
    """
    return ConnectionError(f"The Hub cannot be reached ({type(error).__name__}: {error}); try again later.")


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

    check_token(token)
    # `True` means the stored token to the client, `False` means none.
    if token is False or (not isinstance(token, str) and get_token() is None):
        raise LocalTokenNotFoundError(
            "Pushing to the Hub needs an access token, and none was found: log in with `hf auth login`, or pass "
            "token=. Tokens are made at https://huggingface.co/settings/tokens and need the write permission."
        )
