# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""[`MoEPruner`]: the whole way, from a model to a smaller checkpoint."""

from __future__ import annotations

import copy
import logging
import os
import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimum.quantization_base import OptimumQuantizer
from transformers import PreTrainedModel

from .calibration.criteria import PruningOrder
from .calibration.observer import observe_experts
from .calibration.statistics import ExpertStatistics
from .calibration.super_experts import with_super_experts
from .checkpoint.files import (
    check_front_folder,
    check_output_folder,
    clear_partial_checkpoint,
    end_state,
    output_folder,
    warn_of_replacement,
)
from .checkpoint.finished import Finished, find_finished
from .checkpoint.front import write_front
from .checkpoint.push_checks import check_hub, plan_push
from .checkpoint.rehearsal import rehearse
from .checkpoint.remote_code import check_remote_code
from .checkpoint.write import push_checkpoint, write_checkpoint
from .configuration import EvoESAPConfig
from .data import TokenizedData
from .kernels.forward.fused_forward import fused_forward
from .models.half_pruned import check_not_half_pruned
from .models.loading import load_model
from .models.origin import absolute_if_local
from .models.processors import Processor, find_processor, load_processor
from .models.short_repr import ShortRepr
from .models.size import model_size
from .models.sparse_model import SparseModel
from .models.whole import leaves_model_whole, run_alone
from .reports.applied import applied_result, configuration_of, is_result, read_result
from .reports.base_card import base_card_metadata
from .reports.base_check import check_result, warn_of_another_base
from .reports.front import Front
from .reports.front_record import record_front
from .reports.outlook import describe_estimate
from .reports.progress import progress_rows
from .reports.ranking import Ranking
from .reports.record import record_run
from .reports.result import PruningResult
from .reports.stages import loaded, removed, saved, searched, stage_line
from .run.breadth import warn_of_experts_hardly_reached, warn_of_one_domain
from .run.disk_errors import told_for, writing
from .run.folder_lock import STATE_FOLDER, FolderLock
from .run.inputs import ModelInputs
from .run.run_key import run_key
from .run.saved_work import how_to_go_on
from .run.state import RunState
from .run.text_data import check_data, find_processor_for
from .run.trackers import Trackers
from .run.window_length import with_fitting_windows
from .search.allocation import AllocationSpace
from .search.candidate import Candidate
from .search.estimate import RunEstimate, estimate_run, size_of_checkpoint
from .search.find import SearchData, SearchOutcome, find_allocation, find_allocations
from .search.front import front_configs, front_spaces
from .search.inputs import search_inputs
from .search.order import RankedExperts, Ranker
from .search.planning import allocation_space, explicit_counts, fixed_allocation
from .search.told_scores import ToldScores
from .search.trainer import check_trainable


if TYPE_CHECKING:
    from huggingface_hub import CommitInfo
    from torch import Tensor

logger = logging.getLogger(__name__)


class MoEPruner(ShortRepr, OptimumQuantizer):
    """Removes experts from a sparse Mixture-of-Experts model, a different number from each layer.

    `prune` does everything; `calibrate`, `rank`, `search` and `apply` are its stages, to be called one at a time.

    Args:
        model: The model to prune. It is changed in place by `apply`; all else leaves it as it was, also when it is
            interrupted. While a stage runs, other threads and other pruners may not use it.
        config: The choices; by default `EvoESAPConfig()`.
        tokenizer: The model's tokenizer or, for a multimodal model, its processor; needed where text must be
            tokenized or images read, and saved with the checkpoint.

    Attributes:
        config: The choices, fixed from the start, with windows that are no longer than what the model reads. Only the
            allocation that `apply` is given enters it later, and for data that were given in memory it names no data
            set.
        sparse_model: The model with its structure and its sparse layers, as `layers`.
        sparse_layers: Decoder-layer indices of the sparse layers.
        space: The allocations that the config allows.
        statistics: What `calibrate` measured.
        order: Experts of each layer from the first to go, by `rank`.
        result: The record of the run, after `apply`.

    Raises:
        ValueError: The model is dense or not supported, or the sparsity cannot be reached; says what can.

    Example:
        ```python
        >>> from optimum_evoesap import EvoESAPConfig, MoEPruner

        >>> pruner = MoEPruner.from_pretrained("allenai/OLMoE-1B-7B-0125-Instruct", EvoESAPConfig(sparsity=0.5))
        >>> model = pruner.prune(save_directory="olmoe-50")
        ```
    """

    def __init__(
        self,
        model: PreTrainedModel | SparseModel,
        config: EvoESAPConfig | None = None,
        tokenizer: Processor | None = None,
    ):
        self.sparse_model = model if isinstance(model, SparseModel) else SparseModel(model)
        self.model = self.sparse_model.model
        self.layers = self.sparse_model.layers
        self.sparse_layers = self.sparse_model.indices
        self.tokenizer = tokenizer
        config = EvoESAPConfig() if config is None else copy.deepcopy(config)
        self._config = with_fitting_windows(config, self.model.config)
        self.space = allocation_space(self.config, self.layers, self.model)
        if self.config.allocation != "uniform":
            self.sparse_model.check_rebuild()
        self.statistics: ExpertStatistics | None = None
        self._ranked: RankedExperts | None = None
        self.result: PruningResult | None = None
        self._ranking: Ranking | None = None
        self._found: SearchOutcome | None = None
        self._inputs = ModelInputs(self.model, self.config, tokenizer)
        name = Path(self.model.name_or_path).name or type(self.model).__name__
        self._trackers = Trackers(self.config.report_to, name, lambda: self.config.to_dict())
        self._state = RunState()
        self._token: str | bool | None = None
        self._card_of_base: dict[str, Any] | None = None
        self._is_whole = True

    @classmethod
    def from_pretrained(
        cls,
        model_or_path: str | Path | PreTrainedModel,
        config: EvoESAPConfig | None = None,
        tokenizer: Processor | str | Path | None = None,
        result: PruningResult | str | Path | None = None,
        will_be_read: Collection[str] = (),
        **model_kwargs: Any,
    ) -> MoEPruner:
        """Load a model, unless it is one already, and make its pruner.

        Args:
            model_or_path: Folder, Hub id, or a loaded model.
            config: The choices.
            tokenizer: A tokenizer or processor, or its folder or Hub id; by default the one beside the model.
            result: A result that `apply` or `prune` will get, to find out whether it fits before any weight is read.
            will_be_read: `calibration` and `search`, where those data will be read as the config names them: whether
                they can be is then found out before any weight is read.
            **model_kwargs: Go to `from_pretrained` of the class that the checkpoint was made with: `dtype`,
                `device_map`, `revision`, ...

        Raises:
            ValueError: As for the class, or a device that is not there; before any weight is read.
            DataError: Data that will be read cannot be. It is a `ValueError`.
        """
        # What is elsewhere has revisions and subfolders of its own; only the way to the Hub is the same.
        own = {name: value for name, value in model_kwargs.items() if name in ("token", "cache_dir")}
        if isinstance(tokenizer, (str, Path)):
            tokenizer = load_processor(absolute_if_local(tokenizer), **own)
        if isinstance(result, (str, Path)):
            result = PruningResult.from_pretrained(result, **own)
        if result is not None:
            config = configuration_of(result, config or EvoESAPConfig())
        if isinstance(model_or_path, PreTrainedModel):
            if model_kwargs:
                raise ValueError(f"The model is loaded already; {', '.join(model_kwargs)} would have no effect.")
            return cls._checked(SparseModel(model_or_path), config, tokenizer, result)
        path = absolute_if_local(model_or_path)
        found: dict[str, Any] = {"tokenizer": tokenizer}

        def check(bare: SparseModel) -> None:
            found["config"] = cls._checked(bare, config, None, result).config
            if tokenizer is not None:
                check_data(found["config"], will_be_read)
            elif result is not None:
                found["tokenizer"] = find_processor(path, **model_kwargs)
            else:
                found["tokenizer"] = find_processor_for(found["config"], path, will_be_read, **model_kwargs)

        with stage_line("load") as line:
            sparse_model = load_model(path, check, **model_kwargs)
            line.says(loaded(sparse_model.model), sparse_model.model)
        pruner = cls(sparse_model, **found)
        pruner._token = model_kwargs.get("token")
        return pruner

    @classmethod
    def _checked(
        cls, model: SparseModel, config: EvoESAPConfig | None, tokenizer: Any, result: PruningResult | None
    ) -> MoEPruner:
        if result is not None and config is not None:
            check_result(result, model, config)
        return cls(model, config, tokenizer)

    def prune(
        self,
        save_directory: str | Path | None = None,
        calibration_data: Any = None,
        search_data: Any = None,
        push_to_hub: bool = False,
        hub_model_id: str | None = None,
        resume: bool = True,
        remote_code: bool = False,
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        commit_message: str | None = None,
        create_pr: bool = False,
        result: PruningResult | str | Path | None = None,
        ranking: str | Path | None = None,
    ) -> PreTrainedModel:
        """Calibrate, rank, search, apply, and save or push.

        Args:
            save_directory: Where the checkpoint goes; a killed run with the same folder goes on where it was, and an
                earlier result in it is replaced, of which a warning is logged.
            calibration_data: Data for the criterion in any form that [`prepare_data`] takes; by default the config's.
            search_data: Data on which candidates are scored; by default the config's. With an allocation that is not
                searched they are optional, and that allocation is scored on them.
            push_to_hub: Also push the checkpoint.
            hub_model_id: Repository to push to; by default the name of `save_directory`.
            resume: Go on with what a killed run left in `save_directory`. Where the very same run has come to its end
                there, its result is applied, and nothing is measured or written again.
            remote_code: As in `save_pretrained`, for what is saved and pushed.
            private: As in `push_to_hub`, like the four arguments that follow.
            token: Access token.
            revision: Branch to push to.
            commit_message: Message of the commit.
            create_pr: Open a pull request.
            result: A result to apply in place of calibrating and searching, as in `apply`.
            ranking: A ranking to load in place of calibrating, as in `load_ranking`.

        Returns:
            The pruned model.

        Raises:
            ValueError: Wrong data, a broken model, or an argument that would have no effect, before any long work.
            FileExistsError: `save_directory` holds something else, or the model itself.
            FolderInUseError: Another run is writing into `save_directory`.
            OSError: `save_directory` cannot be written.
        """
        push = plan_push(
            push_to_hub,
            hub_model_id,
            save_directory,
            private=private,
            token=token,
            revision=revision,
            commit_message=commit_message,
            create_pr=create_pr,
        )
        if remote_code:
            if save_directory is None and push is None:
                raise ValueError("remote_code=True has no effect without save_directory or push_to_hub.")
            check_remote_code(self.model)
        self._check_whole()
        _check_effect(calibration_data, search_data, result, ranking)
        save_directory = output_folder(save_directory)
        if save_directory is not None:
            check_output_folder(save_directory, self.model.name_or_path)
        with (
            told_for(save_directory, lambda: how_to_go_on(save_directory or "")),
            RunState(save_directory, resume) as state,
        ):
            if save_directory is not None:
                clear_partial_checkpoint(save_directory)
                check_output_folder(save_directory, self.model.name_or_path)
            if save_directory is not None or push is not None:
                self._rehearse(
                    save_directory, 0 if result is not None else size_of_checkpoint(self.sparse_model, self.space)
                )
            if push is not None:
                check_hub(**push)
            self._state = state
            try:
                if ranking is not None:
                    self.load_ranking(ranking)
                data = (calibration_data, search_data, ranking is not None)
                key, finished = "", None
                if save_directory is not None and result is None:
                    key = self._run_key(*data, remote_code)
                    finished = find_finished(save_directory, key) if resume else None
                if finished is None:
                    self._walk(save_directory, *data, result)
                else:
                    self._take_finished(finished)
            finally:
                self._state = RunState()  # stages that are called later are not of that run
                self._trackers.finish()
            if save_directory is not None:
                if finished is None:
                    with stage_line("save") as line:
                        names = self._write_held(save_directory, state, remote_code=remote_code, key=key)
                        line.says(saved(save_directory, names))
                else:
                    names = finished.result.files
                    end_state(save_directory)
                if push is not None:
                    written = (save_directory, names, self.config, self._applied_result())
                    with stage_line("push") as line:
                        commit = push_checkpoint(*written, base_card=self._base_card(), **push)
                        line.says(f"to {commit.pr_url or commit.commit_url}")
            elif push is not None:
                self.push_to_hub(remote_code=remote_code, **push)
        return self.model

    def quantize(self, save_dir: str | Path, file_prefix: str | None = None, **kwargs: Any) -> PreTrainedModel:
        """The same as `prune(save_directory=save_dir, ...)`, under the name that every Optimum quantizer has.

        Args:
            save_dir: As `save_directory` of `prune`.
            file_prefix: Must be left out.
            **kwargs: The other arguments of `prune`.

        Raises:
            ValueError: A `file_prefix`, or as `prune`.
        """
        if file_prefix is not None:
            raise ValueError(
                f"file_prefix={file_prefix!r}: a transformers checkpoint has fixed file names; leave it out."
            )
        return self.prune(save_directory=save_dir, **kwargs)

    @leaves_model_whole
    def estimate(
        self,
        calibration_data: Any = None,
        search_data: Any = None,
        ranking: str | Path | None = None,
        sparsities: Iterable[float] | None = None,
    ) -> RunEstimate:
        """About how long `prune` with the same arguments will take, and the memory and disk that it needs.

        The data are prepared and one batch of each kind of work is timed; nothing is written. `prune` logs the same
        before its work, at the level INFO.

        Args:
            calibration_data: As in `prune`.
            search_data: As in `prune`.
            ranking: As in `prune`.
            sparsities: Those of a front: what is estimated is then `front` in place of `prune`.

        Raises:
            ValueError: Wrong data or a broken model, as in `prune`.
        """
        self._check_whole()
        _check_effect(calibration_data, search_data, None, ranking)
        configs = {} if sparsities is None else front_configs(self.config, sparsities)
        spaces = front_spaces(configs, self.layers) if configs else {}
        if ranking is not None:
            self.load_ranking(ranking)
        self._prepare(calibration_data, search_data, self._ranking is not None, is_scored=bool(configs))
        aims = {space: configs[sparsity] for sparsity, space in spaces.items()} or {self.space: self.config}
        return self._estimate(aims, has_ranking=ranking is not None)

    def _estimate(self, aims: Mapping[AllocationSpace, EvoESAPConfig], has_ranking: bool) -> RunEstimate:
        return estimate_run(self.sparse_model, aims, self._inputs, has_ranking)

    @leaves_model_whole
    def calibrate(self, calibration_data: Any = None) -> ExpertStatistics:
        """Run the model once over the calibration data and measure what each expert does.

        What later stages found before no longer holds, so it is forgotten.

        Args:
            calibration_data: As in `prune`.

        Raises:
            ValueError: The data cannot be used, or the model is pruned already.
        """
        self._check_whole()
        self.statistics = self._ranked = self._found = self._ranking = None
        data = self._get_data("calibration", calibration_data)
        key = self._state.key(self.model, data.fingerprint)
        statistics = self._state.load_statistics(key)
        if statistics is None:
            with fused_forward(self.model):
                batches, unfinished = list(self._inputs.batches(data)), self._state.unfinished_statistics(key)
                statistics = observe_experts(self.sparse_model, batches, unfinished=unfinished)
            self._state.save_statistics(key, statistics)
        prunable = [layer for layer, limit in zip(self.layers, self.space.max_removed) if limit]
        warn_of_experts_hardly_reached(statistics, prunable)
        self.statistics = statistics
        return statistics

    @leaves_model_whole
    def rank(self) -> PruningOrder:
        """Order the experts of each layer by the criterion, from the first to go to the last.

        An allocation found with another order no longer holds, so it is forgotten.

        Raises:
            ValueError: `calibrate` has not run yet, or the model is pruned already.
        """
        self._check_whole()
        if self.statistics is None:
            raise ValueError("Nothing to rank by yet: call calibrate() first.")
        return self._rank(self.statistics)

    @leaves_model_whole
    def load_ranking(
        self,
        name_or_path: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
    ) -> PruningOrder:
        """Take what another run measured of this very model, in place of `calibrate` and `rank`.

        Each run keeps it beside its result, as `evoesap_ranking.json`: another sparsity needs no new calibration, and
        neither does another criterion that is made of the same statistics.

        Args:
            name_or_path: Such a file, the folder of a pruned checkpoint, or its repository on the Hub.
            revision: Branch, tag or commit of the repository.
            token: Access token for the Hub.
            cache_dir: Where downloads are kept.

        Raises:
            FileNotFoundError: There is no such file.
            OSError: The Hub has no such repository, or cannot be reached.
            ValueError: It was measured on another model, or is no ranking.
        """
        self._check_whole()
        ranking = Ranking.from_pretrained(name_or_path, revision=revision, token=token, cache_dir=cache_dir)
        num_experts = dict(zip(self.sparse_layers, self.space.num_experts))
        ranking.check_base(self.model, self._state.weights(self.model), num_experts)
        self._inputs.prepared.pop("calibration", None)
        self._config = self.config.replace(calibration_dataset=None)  # none is read
        self.statistics, self._ranking = ranking.statistics, ranking
        return self._rank(ranking.statistics, {ranking.criterion: ranking.scores})

    def _rank(
        self, statistics: ExpertStatistics, known: Mapping[str, dict[int, Tensor]] | None = None
    ) -> PruningOrder:
        statistics.check_layers(dict(zip(self.sparse_layers, self.space.num_experts)))
        self._found = self._ranked = None
        keep = dict(self.config.keep or {})
        if self.config.protect_super_experts:
            keep = with_super_experts(keep, statistics)
            self.space = allocation_space(self.config.replace(keep=keep or None), self.layers, self.model)
        given = (self.config, self.sparse_model, self.space, keep, statistics, self._inputs, self._state)
        self._ranked = Ranker(*given, known or {}).rank()
        return self._ranked.order

    @leaves_model_whole
    def search(self, search_data: Any = None) -> list[int]:
        """Find how many experts go from each layer, and set `allocation`.

        With `allocation="uniform"` or explicit counts in the config there is nothing to search; where there are search
        data, that allocation is scored on them.

        Args:
            search_data: As in `prune`.

        Raises:
            ValueError: `rank` has not run yet, or the data cannot be used.
        """
        self._check_whole()
        if self.order is None:
            raise ValueError("No pruning order yet: call calibrate() and rank() first.")
        self._found = None
        data, told = self._search_data(search_data)
        with fused_forward(self.model):
            given = (self.sparse_model, self.order, self.space, self.config, data, told)
            self._found = find_allocation(*given, report=self._trackers.log)
        return self._found.best.removed(self.space.num_experts)

    def front(
        self,
        sparsities: Iterable[float],
        calibration_data: Any = None,
        search_data: Any = None,
        save_directory: str | Path | None = None,
        resume: bool = True,
        ranking: str | Path | None = None,
    ) -> Front:
        """Find an allocation for each of several sparsities; the model stays whole, and `apply` takes any of them.

        Statistics, order, curves and teachers are made once. The limits of the config hold for each sparsity. Where
        experts are ranked already and no calibration data are given, that order is used.

        Args:
            sparsities: Shares of the experts to remove; the config's own does not count.
            calibration_data: As in `prune`.
            search_data: As in `prune`; an allocation that is not searched is scored on them too.
            save_directory: Where `evoesap_front.json`, the results and the ranking go; a killed run with the same
                folder goes on where it was.
            resume: Go on with what a killed run left in `save_directory`.
            ranking: A ranking to load in place of calibrating, as in `load_ranking`.

        Raises:
            ValueError: A sparsity that cannot be reached, a config that says how much goes, or wrong data, before any
                long work.
            FileExistsError: `save_directory` holds something else, or the model itself.
            FolderInUseError: Another run is writing into `save_directory`.
            OSError: `save_directory` cannot be written.
        """
        self._check_whole()
        _check_effect(calibration_data, search_data, None, ranking)
        configs = front_configs(self.config, sparsities)
        front_spaces(configs, self.layers)
        save_directory = output_folder(save_directory)
        if save_directory is not None:
            check_front_folder(save_directory, self.model.name_or_path)
        with (
            told_for(save_directory, lambda: how_to_go_on(save_directory or "")),
            RunState(save_directory, resume) as state,
        ):
            self._state = state
            try:
                if ranking is not None:
                    self.load_ranking(ranking)
                front, measured = self._find_front(list(configs), calibration_data, search_data)
            finally:
                self._state = RunState()
                self._trackers.finish()
            if save_directory is not None:
                state.hold_again()
                with writing(save_directory):
                    write_front(save_directory, front, measured)
        return front

    @leaves_model_whole
    def _find_front(
        self, sparsities: Sequence[float], calibration_data: Any, search_data: Any
    ) -> tuple[Front, Ranking | None]:
        is_ranked = self.order is not None and calibration_data is None
        self._prepare(calibration_data, search_data, is_ranked, is_scored=True)
        if not is_ranked:
            self._calibrate_and_rank()
        assert self.order is not None
        # Super experts are known by now.
        keep = {layer: sorted(experts) for layer, experts in zip(self.space.layers, self.space.protected) if experts}
        configs = front_configs(self.config.replace(keep=keep or None), sparsities)
        spaces = front_spaces(configs, self.layers)
        aims = {space: configs[sparsity] for sparsity, space in spaces.items()}
        given = search_inputs(self._inputs, self._state, self.sparse_model, self.order, self.config)
        with fused_forward(self.model), stage_line("search") as line:
            found = find_allocations(self.sparse_model, self.order, aims, *given, report=self._trackers.log)
            line.says(f"at {len(aims)} sparsities", self.model)
        weights, data = self._state.weights(self.model), self._inputs.prepared
        front = record_front(self.sparse_model, configs, spaces, self.tokenizer, found, data, weights)
        rankings = [self._ranking_of(result, weights) for result in front.values()]
        return front, rankings[0]

    def apply(
        self,
        allocation: (
            Sequence[int] | Mapping[int, int] | Mapping[int, Sequence[int]] | PruningResult | str | Path | None
        ) = None,
    ) -> PreTrainedModel:
        """Remove the experts from the model, in place.

        A result of another run needs neither data nor a search here. The checkpoint that it makes of the model it was
        found on has the weights of that run's, bit for bit. Of another model of the same shape a warning is logged.

        Args:
            allocation: Experts to remove from each sparse layer, as a list or as a dict from decoder layer to count;
                by default what `search` found. Or a [`PruningResult`], also as its `evoesap_result.json`, the folder
                that holds it or its repository on the Hub; or `kept_experts` themselves, by decoder layer.

        Raises:
            ValueError: A wrong allocation, no order yet, a result that does not fit, or a model that has been pruned
                already.
        """
        self._check_whole()
        if is_result(allocation):
            return self._apply_result(allocation)
        if self.order is None or (allocation is None and self._found is None):
            raise ValueError("Nothing to apply yet: call calibrate(), rank() and search() first.")
        if allocation is not None:
            self._take(allocation)  # type: ignore[arg-type]
        found = self._found
        assert found is not None
        if "search" not in self._inputs.prepared:
            self._config = self.config.replace(search_dataset=None)  # none was read
        given = (self.sparse_model, self.space, self.config, self.tokenizer)
        weights = self._state.weights(self.model)
        record = record_run(*given, found, self._inputs.prepared, weights, self._ranked)
        self._ranking = self._ranking_of(record, weights)
        return self._remove(found, record)

    def _ranking_of(self, record: PruningResult, weights: str) -> Ranking | None:
        """The ranking that goes beside a result; of a loaded one the data are those that it was measured on."""
        if self._ranking is not None:
            record.data = {"calibration": self._ranking.data, **record.data}
        if self.statistics is None or self._ranked is None:
            return None
        data = record.data.get("calibration", {})
        made = (self.statistics, self._ranked.criterion, self._ranked.scores, self._ranked.order, data)
        return Ranking.of(self.model, weights, *made, self.sparse_model.origin)

    def _apply_result(self, given: Any) -> PreTrainedModel:
        result = read_result(given, self.sparse_model)
        config = configuration_of(result, self.config)
        space, candidate = check_result(result, self.sparse_model, config)
        self.sparse_model.check_rebuild()
        weights = self._state.weights(self.model)
        warn_of_another_base(result, self.model, weights)
        self._config, self.space, self._ranking = config, space, None
        record = applied_result(result, self.sparse_model, candidate, self.tokenizer, weights)
        return self._remove(SearchOutcome(candidate), record)

    def _remove(self, found: SearchOutcome, result: PruningResult) -> PreTrainedModel:
        self._trackers.finish()
        run_alone(self.model, self, lambda: self._remove_in_place(found))
        result.parameters["after"], result.size_in_bytes["after"] = model_size(self.model)
        self.result = result
        return self.model

    def _remove_in_place(self, found: SearchOutcome) -> None:
        self._check_whole()  # nobody else has it from here on
        self._found, self._is_whole = found, False
        self.sparse_model.remove(found.best)

    def save_pretrained(self, save_directory: str | Path, remote_code: bool = False, **save_kwargs: Any) -> None:
        """Save the pruned model with its tokenizer, configurations, result and model card.

        Args:
            save_directory: A new or empty folder, or one with an earlier result, which is replaced.
            remote_code: Also save the code that loads the model where this package is not installed. Whoever loads it
                so runs that code from the checkpoint: `from_pretrained(..., trust_remote_code=True)`. A model whose
                layers all have the same number of experts needs none.
            **save_kwargs: Go to the model's `save_pretrained`, such as `max_shard_size`.

        Raises:
            FileExistsError: `save_directory` holds something else, or the model itself.
            FolderInUseError: A run is writing into `save_directory`.
            ValueError: Nothing is pruned yet, or `remote_code` with a model that brings code of its own.
        """
        self._applied_result()
        folder = Path(save_directory).expanduser().absolute()
        check_output_folder(folder, self.model.name_or_path)
        kept = (
            "The pruned model is in memory still, and an earlier result is as it was: see to the disk, and save again."
        )
        with told_for(folder, lambda: kept), FolderLock(folder):
            clear_partial_checkpoint(folder)
            check_output_folder(folder, self.model.name_or_path)
            self._write(folder, remote_code=remote_code, **save_kwargs)

    def push_to_hub(
        self,
        repo_id: str,
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        commit_message: str | None = None,
        create_pr: bool = False,
        remote_code: bool = False,
    ) -> CommitInfo:
        """Push the pruned checkpoint, with its model card, to the Hub in one commit.

        Args:
            repo_id: `namespace/name`, or `name` for a repository of the logged-in user.
            private: Whether a new repository is private; `None` leaves it to the default of the account.
            token: Access token; by default the one of `hf auth login`.
            revision: Branch to push to; by default `main`.
            commit_message: Message of the commit.
            create_pr: Open a pull request against `main` instead of committing to it.
            remote_code: As in `save_pretrained`.

        Raises:
            ValueError: Nothing is pruned yet, or as [`push_folder`].
        """
        result = self._applied_result()
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "checkpoint"
            names = self._write(target, remote_code=remote_code)
            return push_checkpoint(
                target,
                names,
                self.config,
                result,
                repo_id,
                self._base_card(),
                private=private,
                token=token,
                revision=revision,
                commit_message=commit_message,
                create_pr=create_pr,
            )

    @property
    def config(self) -> EvoESAPConfig:
        """The choices."""
        return self._config

    @property
    def order(self) -> PruningOrder | None:
        """Experts of each layer from the first to go; `None` before `rank`."""
        return self._ranked.order if self._ranked else None

    @property
    def allocation(self) -> list[int] | None:
        """Experts to remove from each sparse layer; `None` before `search`."""
        return self._found.best.removed(self.space.num_experts) if self._found else None

    @property
    def kept_experts(self) -> dict[int, list[int]]:
        """The kept experts of each sparse layer by decoder-layer index, ascending; empty before `search`."""
        return {layer: list(kept) for layer, kept in self._found.best.items()} if self._found else {}

    @property
    def scores(self) -> dict[str, float]:
        """Fitness of this allocation (`best`) and of the `uniform` one, on search and held-out data."""
        return self._found.means if self._found else {}

    @property
    def history(self) -> list[dict[str, Any]]:
        """The search, one entry a generation."""
        return self._found.history if self._found else []

    def _walk(
        self,
        save_directory: str | Path | None,
        calibration_data: Any,
        search_data: Any,
        has_ranking: bool,
        result: Any,
    ) -> None:
        """All stages that are not replaced by what another run left."""
        if save_directory is not None:
            warn_of_replacement(save_directory)
        if result is not None:
            with stage_line("apply") as line:
                self.apply(result)
                line.says(removed(self._applied_result()), self.model)
            return
        self._prepare(calibration_data, search_data, has_ranking)
        if logger.isEnabledFor(logging.INFO):
            logger.info("%s", describe_estimate(self._estimate({self.space: self.config}, has_ranking)))
        if not has_ranking:
            self._calibrate_and_rank()
        with stage_line("search") as line:
            self.search()
            line.says(searched(self.config.fitness, self.scores), self.model)
        with stage_line("apply") as line:
            self.apply()
            line.says(removed(self._applied_result()), self.model)

    def _run_key(self, calibration_data: Any, search_data: Any, has_ranking: bool, remote_code: bool) -> str:
        """The fingerprint of a run, of which the data are prepared for it."""
        if not has_ranking:
            self._get_data("calibration", calibration_data)
        if self._needs_search_data(search_data):
            self._get_data("search", search_data)
        ranked = self._ranked if has_ranking else None
        scores = {layer: each.tolist() for layer, each in ranked.scores.items()} if ranked else {}
        others = {"remote_code": remote_code, "ranking": [ranked.criterion, scores, ranked.order] if ranked else None}
        return run_key(self._state, self.model, self.config, self.tokenizer, self._inputs.prepared, **others)

    def _take_finished(self, finished: Finished) -> None:
        """Take the result of this very run, which an earlier one has brought to its end."""
        logger.warning(
            "The result of this very run is whole already, so it is taken as it is: nothing is measured or written "
            "anew. resume=False (--no-resume) does everything again."
        )
        result, self._ranking = finished.result, finished.ranking
        if finished.ranking is not None:
            self.statistics, made = finished.ranking.statistics, finished.ranking
            self._ranked = RankedExperts(made.criterion, made.scores, made.order, result.criterion_scores)
        kept = tuple((layer, tuple(experts)) for layer, experts in sorted(result.kept_experts.items()))
        if "search" not in self._inputs.prepared:
            self._config = self.config.replace(search_dataset=None)  # none was read
        self._remove(SearchOutcome(Candidate(kept), history=result.history), result)

    def _calibrate_and_rank(self) -> None:
        with self._trackers.timed("calibrate"), stage_line("calibrate") as line:
            self.calibrate()
            line.says(self._inputs.get("calibration").description, self.model)
        with self._trackers.timed("rank"), stage_line("rank") as line:
            self.rank()
            line.says(f"by {self._ranked.criterion}" if self._ranked else "", self.model)

    def _summary(self) -> list[tuple[str, str]]:
        # One for each of the stages in `reports.progress`.
        outcomes = (self.statistics, self.order, self._found, not self._is_whole, self.result)
        return progress_rows(self.model, self.space, self.allocation, outcomes)

    @leaves_model_whole
    def _prepare(self, calibration_data: Any, search_data: Any, is_ranked: bool, is_scored: bool = False) -> None:
        """Find everything that can be wrong with the data or the model before the long work starts."""
        if not is_ranked or calibration_data is not None:
            self._inputs.check_model(self._get_data("calibration", calibration_data))
        if is_scored or self._needs_search_data(search_data):
            self._inputs.check_model(self._get_data("search", search_data))
            self._inputs.check_scored()
            if self.config.is_searched:
                warn_of_one_domain(self._inputs.prepared)
                check_trainable(self.config, self.sparse_model, self._inputs)

    def _get_data(self, kind: str, given: Any) -> TokenizedData:
        """The data of a kind; the config then names what was really used, or nothing where that was in memory."""
        data = self._inputs.get(kind, given)
        if given is not None:
            name = os.fspath(given) if isinstance(given, (str, os.PathLike)) else None
            self._config = self.config.replace(**{f"{kind}_dataset": name})
        return data

    def _needs_search_data(self, given: Any) -> bool:
        """Also an allocation that is not searched is scored, where there are data for it."""
        is_searched = fixed_allocation(self.config, self.space) is None
        return is_searched or given is not None or "search" in self._inputs.prepared

    def _search_data(self, given: Any) -> tuple[SearchData, dict[str, ToldScores]]:
        if not self._needs_search_data(given) or self.order is None:
            return SearchData(), {}
        self._get_data("search", given)
        return search_inputs(self._inputs, self._state, self.sparse_model, self.order, self.config)

    def _take(self, allocation: Sequence[int] | Mapping[int, int]) -> None:
        """Set an allocation of the user's own, with its own scores where there are search data."""
        counts = explicit_counts(allocation, self.sparse_layers)
        space = replace(self.space, budget=int(sum(counts)))
        counts = list(space.check(counts))
        if counts != self.allocation:
            self._config, self.space = self.config.replace(allocation=counts), space
            self.search()

    def _write(self, directory: str | Path, **options: Any) -> list[str]:
        written = (self.model, self.tokenizer, self.config, self._applied_result())
        card = self._base_card()
        options = {"sources": self.sparse_model.source_tensors, "base_card": card} | options
        return write_checkpoint(directory, *written, ranking=self._ranking, **options)

    def _write_held(self, directory: Path, state: RunState, **options: Any) -> list[str]:
        """Once more where somebody removes the folder just then: all that goes into it is still in memory."""
        state.hold_again()
        try:
            return self._write(directory, **options)
        except FileNotFoundError:
            if (directory / STATE_FOLDER).is_dir():
                raise
            state.hold_again()
            return self._write(directory, **options)

    def _rehearse(self, directory: Path | None, size: int) -> None:
        """Make and check what is needed at the end, before the long work."""
        self._base_card()
        rehearse(directory, self.model, self.tokenizer, self.config, size)

    def _base_card(self) -> dict[str, Any]:
        """What the base model's card says, read once; the model itself is not asked for again."""
        if self._card_of_base is None:
            origin = self.sparse_model.origin
            self._card_of_base = base_card_metadata(origin.name, self._token, origin.revision)
        return self._card_of_base

    def _check_whole(self) -> None:
        """Every stage needs the unpruned model, all of it."""
        if not self._is_whole:
            check_not_half_pruned(self.model)
            raise ValueError("This model is pruned already; make a new MoEPruner to prune it once more.")
        self.sparse_model.check_still_as_found(self.space.num_experts)
        self.sparse_model.check_in_memory()

    def _applied_result(self) -> PruningResult:
        if self.result is None:
            raise ValueError("The model is not pruned yet: call prune() or apply() first.")
        return self.result


def _check_effect(calibration_data: Any, search_data: Any, result: Any, ranking: Any) -> None:
    """Raise where an argument of `prune` would have no effect beside the others."""
    given = {"calibration_data": calibration_data, "search_data": search_data, "ranking": ranking}
    replaced = {"result": list(given) if result is not None else [], "ranking": ["calibration_data"]}
    for name, others in replaced.items() if ranking is not None or result is not None else ():
        idle = [other for other in others if given[other] is not None]
        if idle:
            raise ValueError(f"{' and '.join(idle)} would have no effect: a {name} takes their place.")
