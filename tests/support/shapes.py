"""Documents in the shapes of public products' collections, and how a mapping reads each."""

from __future__ import annotations

import json
from pathlib import Path

from bson import json_util

from enricher.lead import Document

SHAPES: list[Document] = json.loads(
    Path(__file__).with_suffix(".json").read_text("utf-8"), object_hook=json_util.object_hook
)
