# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Write docs/source/architectures.mdx from the model matrix of the tests: `python -m docs.make_architectures`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from optimum_evoesap.adapters import MoELayer
from tests.model_matrix import ROWS, layers_of, structure_of
from tests.model_matrix.rows import Row


ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "source" / "architectures.mdx"
EXAMPLE = ROOT / "examples" / "own_architecture.py"

HEAD = """<!-- Made by `python -m docs.make_architectures` from the model matrix of the tests. Change it there. -->

# Architectures

Every decoder language model with routed experts that transformers has, but doge, can be pruned, also inside a
multimodal model. Where a model keeps its experts is found by building its class without weights at several expert
counts; only the few ways in which models call their experts have an adapter each. Each row below is a tiny model in
the tests, with random routers and biases, for which

- the model that the search scores, the sliced model and its reloaded checkpoint give the same logits, to the bit, in
  float32 and bfloat16, for random and for extreme allocations;
- the statistics are those of a slow recomputation, one token and one expert at a time;
- a uniform result is what the class builds with fewer experts;
- generating, the auxiliary loss, saving in shards and pruning once more work.

`optimum-cli evoesap inspect MODEL` says for your model what can be removed, from its config alone.
"""

REFUSED = """
## What is refused

| model | why |
| --- | --- |
| doge | its router spans a grid of experts; no row of it belongs to one expert |
| switch_transformers, nllb-moe | an encoder and a decoder |
| quantized checkpoints, and models loaded with 4- or 8-bit weights | scales cannot be sliced with their experts: load with `dequantize=True` in the quantization config (FP8, MXFP4) or start from the model it was made from, prune, then quantize |
| PEFT models | call `merge_and_unload()` first |
| models of which `device_map` keeps a part on the CPU or the disk | load them on devices that hold all of it |

Each is an error before calibration, with the remedy where there is one. Experts outside the language model (the vision tower of dots3_note)
stay as they are.
"""  # noqa: E501

OWN = """
## An architecture of your own

A model with code of its own (`trust_remote_code=True`) usually needs nothing: its experts are a `ModuleList` with a
router beside it whose block returns the weighted sum of what they return, or one module that is called with hidden
states, expert indices and gate weights. Its layers must be built from a `config` and a `layer_idx`, as everywhere in
transformers, so that a checkpoint with different expert counts can be loaded again; that is checked first.

Where experts are called in another way, an adapter says how. This one is for experts that take a matrix of gate
weights; `examples/own_architecture.py` has the whole model and prunes it.

```python
from optimum_evoesap.adapters import MoEBlock, Routes, post_hook, pre_hook, register_adapter


{adapter}
```
"""


def make_page() -> str:
    """The text of the page."""
    rows = sorted(ROWS.values(), key=lambda row: row.model_type)
    rows = [row for row in rows if ":" not in row.model_class]
    adapter = EXAMPLE.read_text().split("# [adapter]\n")[1].split("\n\n# [/adapter]")[0].strip()
    parts = [HEAD]
    for title, is_multimodal in (("Text", False), ("Multimodal, with experts in the language model", True)):
        parts.append(
            f"\n## {title}\n\n| model type | on the Hub | expert count | constraints |\n| --- | --- | --- | --- |\n"
        )
        parts += [_line(row) for row in rows if _is_multimodal(row) == is_multimodal]
    return "".join([*parts, REFUSED, OWN.format(adapter=adapter)])


def _is_multimodal(row: Row) -> bool:
    config = row.make_config()
    return config.get_text_config(decoder=True) is not config


def _line(row: Row) -> str:
    model = row.load_class()(row.make_config())
    structure, layers = structure_of(model), layers_of(model)
    hub = ", ".join(f"[{name}](https://huggingface.co/{name})" for name in row.hub_models)
    constraints = "; ".join(dict.fromkeys(_constraints(row, layers)))
    return f"| {row.model_type} | {hub} | `{structure.attribute}` | {constraints} |\n"


def _constraints(row: Row, layers: list[MoELayer]) -> Iterator[str]:
    if row.since:
        yield f"transformers {row.since} or later"
    for layer in layers:
        if layer.unprunable_reason:
            yield "hash-routed layers stay whole"
        block = layer.blocks[0]
        if block.num_groups > 1:
            yield "with `n_group` > 1 the same number stays in each router group"
        if len(layer.blocks) > 1:
            names = " and ".join(f"`{block.path}`" for block in layer.blocks)
            yield f"the same number stays in {names}"
        if len(block.experts) > 1:
            yield "two stacks of layers share their experts"
        if any(tensor.axis.extra for tensor in block.router_tensors):
            yield "shared, zero or skip experts stay"
    if row.model_type == "diffusion_gemma":
        yield "predicts no next token: uniform or given allocations only"


if __name__ == "__main__":
    PAGE.write_text(make_page())
