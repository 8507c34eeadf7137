# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Write a pruned model as a plain transformers checkpoint: all of it, or nothing."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..configuration import EvoESAPConfig
from ..models.quantization import find_quantization
from ..models.size import model_size
from ..reports.card import create_bare_card, create_model_card
from ..reports.ranking import Ranking
from ..reports.result import RESULT_NAME, PruningResult
from ..run.disk_errors import writing
from ..run.folder_lock import STATE_FOLDER
from .claims import drop_claims
from .dtypes import restore_dtypes
from .exchange import PARTIAL, exchange, file_names
from .files import clear_partial_checkpoint, end_state
from .finished import seal_of
from .public_files import write_public_files
from .push import push_folder
from .rehearsal import config_parts
from .remote_code import CODE, check_remote_code, set_remote_code
from .space import check_free_space
from .verify import verify_written


if TYPE_CHECKING:
    from huggingface_hub import CommitInfo
    from transformers import PreTrainedModel

    from ..models.processors import Processor


logger = logging.getLogger(__name__)


def write_checkpoint(
    directory: str | Path,
    model: PreTrainedModel,
    tokenizer: Processor | None,
    config: EvoESAPConfig,
    result: PruningResult,
    remote_code: bool = False,
    ranking: Ranking | None = None,
    base_card: Mapping[str, Any] | None = None,
    key: str = "",
    sources: Mapping[str, Path] | None = None,
    write_weights: Callable[[Path], Collection[str]] | None = None,
    **save_kwargs: Any,
) -> list[str]:
    """Save model, tokenizer, configurations, result and model card into `directory`.

    Everything is written into the folder of the run's state first and moved at the end, so that a kill never leaves
    something that loads and is half a checkpoint. What an earlier result wrote is removed; other files stay. A folder
    that others may know is to be held by a [`FolderLock`].

    Args:
        directory: The output folder.
        model: The pruned model; weights go into safetensors, in shards.
        tokenizer: Saved too where there is one; a processor with its tokenizer.
        config: Written as `evoesap_config.json`.
        result: Written as `evoesap_result.json`, with the names of all files that are written.
        remote_code: Add the code that loads it with `trust_remote_code=True`, without this package.
        ranking: Written as `evoesap_ranking.json`, where the run measured one.
        base_card: What the card takes over from that of the base model.
        key: Fingerprint of the run, by which the same run, started again, finds that it has ended.
        sources: Files of the base model with tensors that loading has cast from float32, by the tensors' names.
        write_weights: Writes the weights into a folder, in place of those of the model, which may then be on the meta
            device. Gives the names of tensors that the class does not load and that are meant to be there.
        **save_kwargs: Go to the model's `save_pretrained`, such as `max_shard_size`.

    Returns:
        The names of the files that were written, with `/` between the parts.

    Raises:
        OSError: The folder cannot be written; what was in it is still there.
        ValueError: `remote_code` with a model that brings code of its own, or what was written would not load.
    """
    if remote_code:
        check_remote_code(model)
    directory = Path(directory)
    partial = directory / STATE_FOLDER / PARTIAL
    clear_partial_checkpoint(directory)
    partial.mkdir(parents=True)
    try:
        with writing(partial):
            check_free_space(partial, model_size(model)[1])
            carried: Collection[str] = ()
            if write_weights is None:
                model.save_pretrained(partial, **save_kwargs)
            else:
                carried = write_weights(partial)
                for part in config_parts(model).values():
                    part.save_pretrained(partial)
            has_remote_code = set_remote_code(partial, model, remote_code)
            result.dropped_layers = drop_claims(partial)
            # Larger than asked for it must not become.
            wide_kept = result.kept_experts if config.target_size is None else None
            result.float32_tensors, result.cast_tensors = restore_dtypes(partial, sources or {}, wide_kept)
            # A class on the meta device does not know the tensors of a quantized one.
            if write_weights is None or find_quantization(model.config) is None:
                verify_written(partial, model, carried)
            if tokenizer is not None:
                tokenizer.save_pretrained(partial)
            config.save_pretrained(partial)
            if ranking is not None:
                ranking.save(partial)
            _write_card(partial, config, result, has_remote_code, base_card)
            result.files = sorted({RESULT_NAME, *file_names(partial)})
            result.seal = seal_of(result, key) if key else None
            result.save(partial)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)  # room for what comes now
        raise
    names = exchange(partial, directory)
    end_state(directory)
    return names


def push_checkpoint(
    directory: str | Path,
    names: Collection[str],
    config: EvoESAPConfig,
    result: PruningResult,
    repo_id: str,
    base_card: Mapping[str, Any] | None = None,
    **options: Any,
) -> CommitInfo:
    """Push a saved checkpoint; its card, configuration and result then name the repository and no local file.

    Args:
        directory: Where [`write_checkpoint`] wrote.
        names: What it wrote; other files of the folder are not pushed.
        config: The configuration of the run.
        result: Its record.
        repo_id: The repository.
        base_card: As for [`write_checkpoint`].
        **options: Go to [`push_folder`].
    """
    with tempfile.TemporaryDirectory() as folder:
        public = Path(folder)
        write_public_files(public, result, config)
        _write_card(public, config, result, CODE.name in names, base_card, repo_id)
        return push_folder(directory, repo_id, names=names, in_place_of=public, **options)


def _write_card(
    folder: Path,
    config: EvoESAPConfig,
    result: PruningResult,
    has_remote_code: bool,
    base_card: Mapping[str, Any] | None,
    repo_id: str | None = None,
) -> None:
    values, base = config.to_dict(), dict(base_card or {})
    try:
        card = create_model_card(result, values, base_card_data=base, repo_id=repo_id, has_remote_code=has_remote_code)
    except Exception:
        # It is an ornament: whatever is wrong with a text in it must not lose the result of a long run.
        logger.warning(
            "The model card cannot be made, so that README.md says little; please report this.", exc_info=True
        )
        card = create_bare_card()
    card.save(folder / "README.md")
