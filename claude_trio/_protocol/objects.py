"""JSON objects in what other programs write."""

from __future__ import annotations

import json
from typing import Any


def parse_object(data: str | bytes) -> dict[str, Any] | None:
    """Return the JSON object that a text is; None if it is none, or not whole yet."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):  # nested too deeply
        return None
    return found if isinstance(found, dict) else None
