# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""`python -m optimum_evoesap COMMAND`: prune and the rest, and for pruned checkpoints the commands of transformers.

Those are `transformers serve`, `transformers chat` and so on with this package imported; they have no option for that.
"""

from __future__ import annotations

from .commands.main import main


if __name__ == "__main__":
    main()
