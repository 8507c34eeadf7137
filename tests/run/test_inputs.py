# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""What a model needs of its data and does not take: refused before any work, where it matters."""

from __future__ import annotations

import pytest

from optimum_evoesap import EvoESAPConfig, MoEPruner
from optimum_evoesap.adapters.structure import build_on_meta
from optimum_evoesap.data import DataError
from optimum_evoesap.run.inputs import ModelInputs
from tests.model_matrix import MODEL_TYPES, ROWS, make_config, make_model
from tests.remote_code import modeling_listed_moe
from tests.remote_code.configuration_listed_moe import ListedMoeConfig


PACKED = [{"input_ids": [3, 4, 5, 6], "position_ids": [0, 1, 0, 1]}] * 2
ONE_DOCUMENT_A_WINDOW = [{"input_ids": [3, 4, 5, 6], "position_ids": [0, 1, 2, 3]}] * 2
OF_DIFFERENT_LENGTHS = [{"input_ids": [3, 4, 5, 6]}, {"input_ids": [3, 4]}]
OF_ONE_LENGTH = [{"input_ids": [3, 4, 5, 6], "attention_mask": [1, 1, 1, 1]}] * 2
PADDED = [{"input_ids": [3, 4, 5, 0], "attention_mask": [1, 1, 1, 0]}]


class MasklessModel(modeling_listed_moe.ListedMoeModel):
    def forward(self, input_ids, past_key_values=None, use_cache=None, **kwargs):
        return super().forward(input_ids, None, past_key_values, use_cache)


class MasklessForCausalLM(modeling_listed_moe.ListedMoeForCausalLM):
    def __init__(self, config):
        super().__init__(config)
        self.model = MasklessModel(config)

    def forward(self, input_ids, past_key_values=None, use_cache=None, labels=None, **kwargs):
        return super().forward(input_ids, None, past_key_values, use_cache)


def taken(model, rows, **options):
    """The names of what the model gets."""
    inputs = ModelInputs(model, EvoESAPConfig(sequence_length=8, **options), None)
    return {name for batch in inputs.batches(inputs.get("calibration", rows)) for name in batch}


def test_packed_documents_need_positions():
    model = make_model("listed_moe")  # its forward names none
    with pytest.raises(
        DataError, match="ListedMoeForCausalLM takes no `position_ids`, so the documents packed.*packing"
    ):
        taken(model, PACKED)
    assert taken(model, ONE_DOCUMENT_A_WINDOW) == {"input_ids", "labels"}
    assert taken(model, OF_DIFFERENT_LENGTHS) == {"input_ids", "labels", "attention_mask"}


def test_padding_needs_a_mask():
    model = MasklessForCausalLM(ListedMoeConfig()).eval()
    for rows in (OF_DIFFERENT_LENGTHS, PADDED):
        with pytest.raises(DataError, match="MasklessForCausalLM takes no `attention_mask`, so padding.*batch_size=1"):
            taken(model, rows)
    assert taken(model, OF_DIFFERENT_LENGTHS, batch_size=1) == {"input_ids", "labels"}
    assert taken(model, OF_ONE_LENGTH) == {"input_ids", "labels"}


def test_it_is_refused_before_the_work():
    model, calls = make_model("listed_moe"), []
    model.register_forward_pre_hook(lambda *_: calls.append(1))
    pruner = MoEPruner(model, EvoESAPConfig(sparsity=0.25, sequence_length=8))
    with pytest.raises(DataError, match="calibration data: .*`position_ids`"):
        pruner.calibrate(PACKED)
    assert not calls


@pytest.mark.parametrize("model_type", [name for name in MODEL_TYPES if name != "listed_moe"])
def test_every_other_model_takes_both(model_type):
    model = build_on_meta(ROWS[model_type].load_class(), make_config(model_type))
    assert "position_ids" in taken(model, PACKED)
    assert "attention_mask" in taken(model, OF_DIFFERENT_LENGTHS)
