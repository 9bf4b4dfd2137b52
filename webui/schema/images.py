"""How a request names a picture."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

SHA256 = r"^[0-9a-f]{64}$"


class ImageRef(BaseModel):
    """A picture that was handed in before: the sha256 of the file `data/inputs/<sha256>.png`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    sha256: str = Field(pattern=SHA256)


def reference(value: Any) -> ImageRef | None:
    """The picture that a JSON value `{"sha256": ...}` names; None for any other value."""
    named = isinstance(value, Mapping) and set(value) == {"sha256"} and isinstance(value["sha256"], str)
    return ImageRef(sha256=value["sha256"]) if named and re.fullmatch(SHA256, value["sha256"]) else None
