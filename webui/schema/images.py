"""How a request names a picture."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ImageRef(BaseModel):
    """A picture that was handed in before: the sha256 of the file `data/inputs/<sha256>.png`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
