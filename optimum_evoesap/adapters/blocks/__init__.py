# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""One file for each way in which models call their experts."""
