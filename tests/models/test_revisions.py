# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""A pinned revision: config, code, tokenizer and weights all come from it, and nothing of another one runs."""

from __future__ import annotations

import json

import pytest

from tests.hub_process import run
from tests.model_matrix import make_model


# Every file of code says where it ran, so that also a class that is made and thrown away is seen.
CODE = {
    "own_config.py": (
        "from transformers import OlmoeConfig\nclass OwnConfig(OlmoeConfig):\n    model_type = 'own_moe'\n"
    ),
    "own_model.py": (
        "from transformers import OlmoeForCausalLM\nfrom .own_config import OwnConfig\n"
        "class OwnModel(OlmoeForCausalLM):\n    config_class = OwnConfig\n"
    ),
    "own_tokenizer.py": (
        "from transformers import PreTrainedTokenizerFast\nclass OwnTokenizer(PreTrainedTokenizerFast):\n    pass\n"
    ),
}
MARK = "import os\nwith open(os.environ['RAN'], 'a') as ran:\n    ran.write('{revision} {name}\\n')\n"
USE = """
import json, sys
from optimum_evoesap import EvoESAPConfig, MoEPruner, inspect_model
from optimum_evoesap.models.processors import find_processor

use, options = sys.argv[1], json.loads(sys.argv[2]) | {"trust_remote_code": True}
if use == "inspect":
    inspect_model("me/moe", **options)
elif use == "tokenizer":
    assert type(find_processor("me/moe", **options)).__name__ == "OwnTokenizer"
else:
    config = EvoESAPConfig(sparsity=None, allocation=[2, 1, 0], sequence_length=8)
    pruner = MoEPruner.from_pretrained("me/moe", config, **options)
    pruner.prune(calibration_data=[{"input_ids": list(range(8))}] * 2)
print("[]")
"""


@pytest.fixture(scope="module")
def files_of(tmp_path_factory):
    """The files of a repository with code of its own, by the revision that the code names."""
    folder = tmp_path_factory.mktemp("model")
    # A class of its own gets no conversions, so the files hold what it holds.
    make_model("olmoe").save_pretrained(folder, save_original_format=False)
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "own_moe",
        "architectures": ["OwnModel"],
        "auto_map": {"AutoConfig": "own_config.OwnConfig", "AutoModelForCausalLM": "own_model.OwnModel"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    vocabulary = {"[UNK]": 0, "word": 1}
    tokenizer = {"version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "Whitespace"}}
    tokenizer |= {"model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"}}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    own = {"tokenizer_class": "OwnTokenizer", "auto_map": {"AutoTokenizer": [None, "own_tokenizer.OwnTokenizer"]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(own))
    plain = {path.name: path.read_bytes() for path in folder.iterdir()}

    def of(revision):
        code = {name: (MARK.format(revision=revision, name=name) + text).encode() for name, text in CODE.items()}
        return plain | code

    return of


@pytest.mark.parametrize("options", ["revision", "code_revision"])
@pytest.mark.parametrize("use", ["inspect", "tokenizer", "prune"])
def test_only_code_of_the_pinned_revision_runs(use, options, files_of, hub_server, tmp_path):
    repository = hub_server.add_repository("me/moe", files_of("pinned"))
    pin = repository.commit("main").oid
    repository.add_commit("main", "other code", files_of("main"))
    run(hub_server, tmp_path / "home", USE, use, json.dumps({options: pin}), RAN=str(tmp_path / "ran"))
    ran = (tmp_path / "ran").read_text().split("\n")[:-1]
    assert ran and all(line.startswith("pinned ") for line in ran), ran


@pytest.mark.parametrize("use", ["inspect", "prune"])
def test_every_call_uses_the_token_and_the_cache_of_the_user(use, files_of, hub_server, tmp_path):
    """Nothing of the repository is found without the token, and no file of it is kept elsewhere."""
    hub_server.add_repository("me/moe", files_of("main"), private=True)
    options = {"token": hub_server.token, "cache_dir": str(tmp_path / "cache")}
    run(hub_server, tmp_path / "home", USE, use, json.dumps(options), token=None, RAN=str(tmp_path / "ran"))
    assert list((tmp_path / "cache").glob("models--me--moe"))
    assert not list((tmp_path / "home").glob("hub/models--*/snapshots/*/*"))
