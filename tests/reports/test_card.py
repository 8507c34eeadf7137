# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The model card: metadata that the Hub takes, figures that the record holds, and no path of anybody's machine."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
import socketserver
import threading
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from optimum_evoesap.reports.card import base_card_metadata, create_model_card
from optimum_evoesap.reports.names import clean_value, dataset_names, is_hub_id, without_local_paths
from optimum_evoesap.reports.result import PruningResult
from tests.checkpoint.test_push import run
from tests.hub_server import check_card


BASE = "allenai/OLMoE-1B-7B-0125-Instruct"
CODE = "theblackcat102/evol-codealpaca-v1"
MATH = "allenai/tulu-3-sft-personas-math"
CONFIG = {"sparsity": 0.25, "seed": 7, "calibration_dataset": CODE, "search_dataset": f"{MATH}:64", "columns": None}

SEARCHED = PruningResult(
    base_model=BASE,
    model_type="olmoe",
    criterion="reap",
    fitness="esap",
    sparsity=0.25,
    budget=6,
    sparse_layers=[1, 2, 5],
    num_experts=[8, 8, 8],
    allocation=[4, 2, 0],
    kept_experts={1: [0, 1, 2, 3], 2: [0, 1, 2, 3, 4, 5], 5: [0, 1, 2, 3, 4, 5, 6, 7]},
    scores={"best": 0.93126, "uniform": 0.91, "holdout_best": 0.9301, "holdout_uniform": 0.9052},
    beats_uniform=True,
    parameters={"before": 6919161856, "after": 5307768832},
    size_in_bytes={"before": 13838323712, "after": 815537664},
    data={
        "calibration": {
            "description": f"{CODE} (train), 1024 windows of 4096 tokens",
            "fingerprint": "c0ffee",
            "sequences": 1024,
            "tokens": 4194304,
            "scored_tokens": 4100000,
        },
        "search": {"description": f"{MATH}@abc", "fingerprint": "5eed", "sequences": 64, "tokens": 262144},
    },
    seed=7,
    versions={"torch": "2.13.0", "transformers": "5.23.0"},
)
UNIFORM = dataclasses.replace(
    SEARCHED,
    fitness=None,
    allocation=[2, 2, 2],
    scores={},
    beats_uniform=None,
    data={"calibration": SEARCHED.data["calibration"]},
)


def section(card: ModelCard, title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", card.text, re.DOTALL | re.MULTILINE)
    assert found, f"no section {title!r}"
    return found[1]


def cells(text: str, first: str) -> list[str]:
    """The cells behind the row title `first` in a Markdown table."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return next(row[1:] for row in rows if row[0] == first)


def code_blocks(card: ModelCard, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", card.text, re.DOTALL | re.MULTILINE)


def test_metadata_is_what_the_hub_accepts():
    base = {
        "license": "other",
        "license_name": "some-license",
        "license_link": "https://example.com/license",
        "language": ["en", "no"],
        "datasets": ["allenai/OLMoE-mix-0924", CODE],
        "pipeline_tag": "image-text-to-text",
    }
    card = create_model_card(SEARCHED, CONFIG, base_card_data=base)
    assert check_card(str(card)) == []
    data = ModelCard(str(card)).data.to_dict()
    assert data == base | {
        "base_model": BASE,
        "base_model_relation": "finetune",
        "library_name": "transformers",
        "tags": ["evoesap", "optimum-evoesap", "mixture-of-experts", "pruning", "compressed"],
        "datasets": ["allenai/OLMoE-mix-0924", CODE, MATH],
    }


def test_metadata_without_a_card_of_the_base_model():
    data = create_model_card(UNIFORM, CONFIG).data.to_dict()
    assert data["pipeline_tag"] == "text-generation"
    assert data["datasets"] == [CODE]  # nothing was searched, so the search data of the config were not read
    assert not data.keys() & {"license", "language", "license_name", "license_link"}


def test_datasets_that_the_run_did_not_read_are_not_listed():
    data = {"calibration": {"description": "a list of 32 texts"}, "search": {"description": "a list of 8 texts"}}
    card = create_model_card(dataclasses.replace(SEARCHED, data=data), CONFIG)
    assert card.data.datasets is None
    assert "calibration_data=..., search_data=..." in section(card, "Reproducing it")
    assert "_data=..." not in section(create_model_card(SEARCHED, CONFIG), "Reproducing it")


def test_method_and_sizes_come_from_the_record():
    card = create_model_card(SEARCHED, CONFIG)
    method = card.text.split("## ")[0]
    assert "6 of its 24 routed experts (25.0%)" in method
    assert "`reap`" in method
    assert "maximises ESAP" in method
    assert "https://arxiv.org/abs/2603.06003" in method
    sizes = section(card, "Size")
    assert cells(sizes, "Parameters") == ["6.92B", "5.31B (-23.3%)"]
    assert cells(sizes, "Size of the weights") == ["13.84 GB", "815.54 MB (-94.1%)"]
    assert cells(sizes, "Routed experts") == ["24", "18 (-25.0%)"]
    assert cells(sizes, "Experts per sparse layer (min / mean / max)") == ["8 / 8.0 / 8", "4 / 6.0 / 8"]


def test_figures_that_the_record_lacks_are_left_out():
    card = create_model_card(dataclasses.replace(UNIFORM, parameters={}, size_in_bytes={}, data={}, versions={}), {})
    sizes = section(card, "Size")
    assert "Parameters" not in sizes and "Size of the weights" not in sizes
    assert "## Data" not in card.text and "## Versions" not in card.text


def test_kept_experts_of_each_layer():
    table = section(create_model_card(SEARCHED, CONFIG), "Experts kept in each layer")
    bars = {1: 12, 2: 18, 5: 24}
    for layer, kept in ((1, 4), (2, 6), (5, 8)):
        count, bar = cells(table, str(layer))
        assert count == f"{kept} of 8"
        assert (bar.count("█"), len(bar.strip("`"))) == (bars[layer], 24)
    unequal = dataclasses.replace(SEARCHED, num_experts=[8, 4, 8], allocation=[4, 2, 0])
    _, bar = cells(section(create_model_card(unequal, CONFIG), "Experts kept in each layer"), "2")
    assert bar.count("█") == 12, "half of its own layer"


def test_scores_and_the_verdict():
    better = section(create_model_card(SEARCHED, CONFIG), "Fitness")
    assert cells(better, "Search data") == ["0.9313", "0.9100"]
    assert cells(better, "Held-out sequences") == ["0.9301", "0.9052"]
    assert "beats the uniform allocation" in better and "does not beat" not in better

    worse = section(create_model_card(dataclasses.replace(SEARCHED, beats_uniform=False), CONFIG), "Fitness")
    assert "does not beat the uniform allocation on held-out sequences" in worse
    assert "allocation beats" not in worse

    scores = {"best": 0.9, "uniform": 0.8}
    result = dataclasses.replace(SEARCHED, beats_uniform=None, scores=scores, fitness="kl")
    unknown = section(create_model_card(result, CONFIG), "Fitness")
    assert "Held-out sequences" not in unknown and "was not compared" in unknown
    assert "`kl`" in unknown and "ESAP" not in unknown


def test_nothing_about_a_search_that_did_not_happen():
    given = dataclasses.replace(SEARCHED, fitness=None, scores={}, beats_uniform=None, data=UNIFORM.data)
    for result, how in ((UNIFORM, "keeps the same number of experts"), (given, "was given by the user")):
        card = create_model_card(result, {"sparsity": 0.25})
        assert how in card.text
        assert not re.search(r"search|fitness|held-out|evolution", card.text, re.IGNORECASE)


def test_the_same_share_of_layers_of_different_size_is_called_so():
    pruned_before = dataclasses.replace(UNIFORM, num_experts=[8, 8, 4], allocation=[2, 2, 1])
    method = create_model_card(pruned_before, {"allocation": "uniform"}).text.split("## ")[0]
    assert "loses the same share" in method and "given by the user" not in method


def test_loading_asks_for_the_package_only_where_it_is_needed():
    plain = section(create_model_card(UNIFORM, CONFIG, repo_id="me/olmoe-25"), "Loading")
    assert 'AutoModelForCausalLM.from_pretrained("me/olmoe-25"' in plain
    assert "optimum_evoesap" not in plain and "pip install" not in plain

    layered = section(create_model_card(SEARCHED, CONFIG, repo_id="me/olmoe-25"), "Loading")
    assert "pip install optimum-evoesap" in layered
    assert layered.index("import optimum_evoesap\n") < layered.index("from transformers import")
    assert "EvoESAPModelForCausalLM" in layered

    # The number of experts that stay decides: a model that had different numbers may end with equal ones.
    levelled = dataclasses.replace(SEARCHED, num_experts=[8, 6, 4], allocation=[4, 2, 0])
    assert "optimum_evoesap" not in section(create_model_card(levelled, CONFIG), "Loading")


def test_code_in_the_card_is_code():
    card = create_model_card(SEARCHED, CONFIG, repo_id="me/olmoe-25")
    blocks = code_blocks(card, "python")
    assert len(blocks) == 2
    for block in blocks:
        ast.parse(block)
    (shown,) = code_blocks(card, "json")
    assert json.loads(shown) == CONFIG
    assert f'MoEPruner.from_pretrained("{BASE}"' in blocks[1]
    assert 'EvoESAPConfig.from_pretrained("me/olmoe-25")' in blocks[1]


def test_data_and_versions():
    card = create_model_card(SEARCHED, CONFIG)
    data = section(card, "Data")
    row = [f"{CODE} (train), 1024 windows of 4096 tokens", "1,024", "4,194,304", "4,100,000", "`c0ffee`"]
    assert cells(data, "calibration") == row
    assert cells(data, "search") == [f"{MATH}@abc", "64", "262,144", "", "`5eed`"]
    assert cells(section(card, "Versions"), "`torch`") == ["2.13.0"]

    pipe = dataclasses.replace(UNIFORM, data={"calibration": {"description": "one | two\nthree"}})
    assert "| one \\| two three |" in section(create_model_card(pipe, CONFIG), "Data")


@pytest.mark.parametrize("named", ["out/kept-model", "/home/me/models/secret", "~/secret", "C:\\models\\secret"])
def test_a_local_model_is_not_named(tmp_path, monkeypatch, named):
    monkeypatch.chdir(tmp_path)
    Path("out/kept-model").mkdir(parents=True)
    result = dataclasses.replace(SEARCHED, base_model=named)
    card = create_model_card(result, CONFIG, model_name="out/kept-model")
    assert "This is a local model with" in card.text
    assert named not in str(card) and "secret" not in str(card)
    assert card.data.base_model is None
    assert "base_model_relation" not in card.data.to_dict()
    assert card.text.lstrip().startswith("# kept-model\n")
    assert check_card(str(card)) == []


def test_local_data_are_not_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("corpus/mine").mkdir(parents=True)
    spaced = "/home/me/my data/secret set.jsonl"
    config = CONFIG | {
        "calibration_dataset": f"{spaced}:10,{CODE}:20,corpus/mine:5",
        "search_dataset": "secret.jsonl",
        "columns": {"text": "C:\\secret\\x"},
        "extra": [Path("/home/me/secret"), "see file:///home/me/secret."],
    }
    data = {
        "calibration": {"description": f"{spaced} (10 windows), {CODE} (20 windows) and corpus/mine"},
        "search": {"description": "from ../secret/set, about 1/3 of https://example.com/list.jsonl and '/etc/secret'"},
    }
    card = create_model_card(dataclasses.replace(SEARCHED, data=data), config)
    for leak in ("secret", "/home", "my data", "corpus/mine"):
        assert leak not in str(card)
    assert cells(section(card, "Data"), "calibration")[0] == (
        f"local data (10 windows), {CODE} (20 windows) and local data"
    )
    assert cells(section(card, "Data"), "search")[0] == (
        "from local data, about 1/3 of https://example.com/list.jsonl and 'local data'"
    )
    assert card.data.datasets == [CODE]
    shown = json.loads(code_blocks(card, "json")[0])
    assert shown["calibration_dataset"] == f"local data:10,{CODE}:20,local data:5"
    assert shown["extra"] == ["local data", "see local data."]


def test_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_hub_id(BASE)
    Path(BASE).mkdir(parents=True)
    assert not is_hub_id(BASE)  # a folder wins, as it does when the model is loaded
    for name in (None, "gpt2", "a/b/c", "data/train.jsonl", "./a", "/a/b", "a b/c", "a/b--c"):
        assert not is_hub_id(name), name
    assert dataset_names(f"{CODE}:10, {MATH}@v1:5,C:\\x.json:3") == [CODE, MATH, "C:\\x.json"]
    assert dataset_names(None) == []
    assert clean_value({"a": [1, True, None, 0.5, "plain / text, ~100"]}) == {
        "a": [1, True, None, 0.5, "plain / text, ~100"]
    }
    assert without_local_paths("key=/srv/x;next") == "key=local data;next"


def test_title():
    assert (
        create_model_card(SEARCHED, CONFIG, "OLMoE, a quarter less")
        .text.lstrip()
        .startswith("# OLMoE, a quarter less\n")
    )
    assert create_model_card(SEARCHED, CONFIG, repo_id="me/olmoe-25").text.lstrip().startswith("# me/olmoe-25\n")
    default = create_model_card(SEARCHED, CONFIG).text.lstrip()
    assert default.startswith("# OLMoE-1B-7B-0125-Instruct, 25% of the experts removed\n")


def test_base_card_of_a_local_folder(tmp_path, caplog):
    assert base_card_metadata(None) == {}
    with caplog.at_level("INFO", logger="optimum_evoesap"):
        assert base_card_metadata(str(tmp_path)) == {}
    assert str(tmp_path) in caplog.text

    card = tmp_path / "README.md"
    card.write_text("---\nlicense: mit\nlanguage: [en]\ntags: [x]\nlicense_link: LICENSE\nwidget: []\n---\n# Base\n")
    assert base_card_metadata(str(tmp_path)) == {"license": "mit", "language": ["en"], "license_link": "LICENSE"}
    card.write_text("# No metadata\n")
    assert base_card_metadata(str(tmp_path)) == {}
    for broken in ("---\nlicense: [mit\n---\n", "---\n- a list\n---\n"):
        card.write_text(broken)
        assert base_card_metadata(str(tmp_path)) == {}


BASE_CARDS = """
import json, sys
from optimum_evoesap.reports.card import base_card_metadata

print(json.dumps([base_card_metadata(name, token=token) for name, token in json.loads(sys.argv[1])]))
"""


def test_base_card_of_a_model_on_the_hub(hub_server, tmp_path):
    card = (
        b"---\nlicense: other\nlicense_name: own\nlicense_link: LICENSE.md\ndatasets: [a/b]\nlanguage: en\n---\n# Base"
    )
    hub_server.add_repository("org/base", {"README.md": card})
    hub_server.add_repository("org/gated", {"README.md": b"---\nlicense: mit\n---\n"}, private=True)
    hub_server.add_repository("org/bare")
    hub_server.add_repository("org/broken", {"README.md": b"---\nlicense: [mit\n---\n"})
    names = [
        *(("org/base", None), ("org/gated", None), ("org/gated", hub_server.token)),
        *(("org/bare", None), ("org/broken", None), ("org/missing", None), ("not/a/name", None)),
    ]
    found = run(hub_server, tmp_path / "home", BASE_CARDS, json.dumps(names), token=None)
    full = {"license": "other", "license_name": "own", "datasets": ["a/b"], "language": "en"}
    full["license_link"] = "https://huggingface.co/org/base/blob/main/LICENSE.md"
    assert found == [full, {}, {"license": "mit"}, {}, {}, {}, {}]


def test_base_card_without_a_connection(hub_server, tmp_path):
    # The client tries a broken connection several times; nobody needs to wait for that here.
    code = f"import time; time.sleep = lambda seconds: None\n{BASE_CARDS}"
    names = json.dumps([("org/base", None)])
    with socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler) as hangs_up:
        threading.Thread(target=hangs_up.serve_forever, daemon=True).start()
        cut = {"HF_ENDPOINT": f"http://127.0.0.1:{hangs_up.server_address[1]}"}
        assert run(hub_server, tmp_path / "dropped", code, names, **cut) == [{}]
        hangs_up.shutdown()
    assert run(hub_server, tmp_path / "refused", code, names, **cut) == [{}]
    assert run(hub_server, tmp_path / "offline", code, names, HF_HUB_OFFLINE="1") == [{}]
