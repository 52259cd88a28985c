"""When this process began. Loaded before all else, because the rest takes most of a start."""

from __future__ import annotations

import time

BEGAN = time.monotonic()
"""As good as the first moment of the process."""
