# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Print what a vLLM wheel requires, for pip: `python requirements.py WHEEL`.

Without the libraries for images, audio and video that a text model does not need (PyPI has no builds of them for a
torch without CUDA), and without the local part of torch's version, which PyPI does not have.
"""

from __future__ import annotations

import sys
import zipfile
from email.parser import Parser

from packaging.requirements import Requirement


LEFT_OUT = ("torchvision", "torchaudio", "torchcodec")

with zipfile.ZipFile(sys.argv[1]) as wheel:
    name = next(each for each in wheel.namelist() if each.endswith(".dist-info/METADATA"))
    metadata = Parser().parsestr(wheel.read(name).decode())
for line in metadata.get_all("Requires-Dist", []):
    requirement = Requirement(line)
    if requirement.name in LEFT_OUT or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
        continue
    version = str(requirement.specifier).replace("+cpu", "")
    print(f"{requirement.name}[{','.join(sorted(requirement.extras))}]{version}")
