# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""The command line of transformers for pruned checkpoints: `python -m optimum_evoesap serve olmoe-50`.

It is `transformers serve`, `transformers chat` and the rest with this package imported, for which they have no option.
"""

from __future__ import annotations

from transformers.cli.transformers import main


if __name__ == "__main__":
    main()
