"""What a page tells of when it was made, and how to make it again."""

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["model_file", "readable_time"]


def model_file(config: Mapping[str, Any]) -> str:
    """A model's settings as used, as the YAML that `hlm` reads."""
    import yaml

    plain = json.loads(json.dumps(dict(config), default=str))
    text: str = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=88)
    return text


def readable_time(created: str | None) -> str | None:
    """ISO time as one reads it."""
    return created and created.replace("T", " ").replace("+00:00", " UTC")
