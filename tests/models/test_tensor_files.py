# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Files of safetensors, sliced as bytes, against what the library of safetensors reads."""

from __future__ import annotations

import json
import struct

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from optimum_evoesap.models import tensor_files
from optimum_evoesap.models.tensor_files import Selection, TensorFileError, read_tensor_file, write_tensor_file


DTYPES = [torch.float32, torch.bfloat16, torch.float8_e4m3fn, torch.int8, torch.bool, torch.int64]


def bits(tensor):
    return tensor.contiguous().view(torch.uint8) if tensor.dtype != torch.bool else tensor.to(torch.uint8)


@pytest.mark.parametrize("chunk", [1, 7, 2**20])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_entries_are_those_of_the_tensor(axis, dtype, chunk, tmp_path, monkeypatch):
    monkeypatch.setattr(tensor_files, "_CHUNK_BYTES", chunk)
    tensor = (torch.randn(5, 4, 6) * 3).to(dtype)
    others = {"b": torch.arange(3.0), "empty": torch.empty(0, 4)}
    save_file({"a": tensor, **others}, tmp_path / "whole.safetensors", metadata={"format": "pt", "note": "ü"})
    file = read_tensor_file(tmp_path / "whole.safetensors")
    stored = {each.name: each for each in file.tensors}
    chosen = [0, 1, 3]
    selections = [Selection(stored["b"], "b"), Selection(stored["empty"], "empty")]
    selections.append(Selection(stored["a"], "renamed", axis, chosen))
    write_tensor_file(tmp_path / "part.safetensors", selections, file.metadata)
    found = load_file(tmp_path / "part.safetensors")
    expected = tensor.view(torch.uint8 if dtype == torch.float8_e4m3fn else dtype).index_select(
        axis, torch.tensor(chosen)
    )
    assert found["renamed"].dtype == dtype and found["renamed"].shape == expected.shape
    assert torch.equal(bits(found["renamed"]), bits(expected))
    assert torch.equal(found["b"], others["b"]) and found["empty"].shape == (0, 4)
    with safe_open(tmp_path / "part.safetensors", "pt") as reader:
        assert reader.metadata() == {"format": "pt", "note": "ü"}


def test_blocks_have_experts_of_their_own(tmp_path):
    tensor = torch.arange(2 * 6 * 3).reshape(2, 6, 3)
    save_file({"a": tensor}, tmp_path / "whole.safetensors")
    (stored,) = read_tensor_file(tmp_path / "whole.safetensors").tensors
    write_tensor_file(tmp_path / "part.safetensors", [Selection(stored, "a", 1, [0, 5, 6 + 2, 6 + 3], 2)], {})
    expected = torch.stack([tensor[0, [0, 5]], tensor[1, [2, 3]]])
    assert torch.equal(load_file(tmp_path / "part.safetensors")["a"], expected)


def test_the_order_of_the_bytes_stays(tmp_path):
    tensors = {name: torch.full((size,), float(size)) for name, size in (("z", 3), ("a", 5), ("m", 1))}
    save_file(tensors, tmp_path / "whole.safetensors")
    file = read_tensor_file(tmp_path / "whole.safetensors")
    write_tensor_file(tmp_path / "again.safetensors", [Selection(each, each.name) for each in file.tensors], {})
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()


def raw(header, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text


WRONG = {
    "empty": b"",
    "short": b"\x03",
    "no header": raw(b"", length=50),
    "not JSON": raw(b"nothing"),
    "a list": raw([1, 2]),
    "a huge header": raw(b"{}", length=2**62),
    "a pickle": b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00" * 9,
    "no offsets": raw({"a": {"dtype": "F32", "shape": [1]}}),
    "wrong offsets": raw({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}),
    "a negative size": raw({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}) + b"1234",
    "a text as size": raw({"a": {"dtype": "F32", "shape": ["x"], "data_offsets": [0, 4]}}) + b"1234",
    "cut off": raw({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}) + b"123",
    "too few bytes for its shape": raw({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 4]}}) + b"1234",
}


@pytest.mark.parametrize("content", WRONG.values(), ids=WRONG)
def test_a_damaged_file_is_an_error_that_names_it(content, tmp_path):
    path = tmp_path / "broken.safetensors"
    path.write_bytes(content)
    with pytest.raises(TensorFileError, match="broken.safetensors"):
        read_tensor_file(path)


def test_entries_that_share_bytes_are_refused(tmp_path):
    """Two numbers of four bits lie in a byte."""
    header = {"a": {"dtype": "F4", "shape": [2, 3], "data_offsets": [0, 3]}}
    (tmp_path / "four.safetensors").write_bytes(raw(header) + b"123")
    (stored,) = read_tensor_file(tmp_path / "four.safetensors").tensors
    with pytest.raises(TensorFileError, match="share bytes along axis 0"):
        write_tensor_file(tmp_path / "part.safetensors", [Selection(stored, "a", 0, [1])], {})
