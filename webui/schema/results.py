"""What a job gave: its pictures, its notes, its error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

State = Literal["queued", "running", "done", "failed", "interrupted"]
T = TypeVar("T")
FINAL_STATES: frozenset[str] = frozenset({"done", "failed", "interrupted"})


class ImageInfo(BaseModel):
    """One saved picture. `id` is what faces show and ask for; the path never leaves the server."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    id: str
    job_id: str
    index: int
    seed: int
    width: int
    height: int
    infotext: str


class UnitView(BaseModel):
    """What a control unit (numbered from 1) did in one pass: for each of `steps`, how large what it added was next
    to what it was added to. part: 0 the first pass, 1 the hires pass. note: as "it had no effect"."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    unit: int
    label: str
    part: int = 0
    steps: tuple[int, ...] = ()
    ratios: tuple[float, ...] = ()
    note: str = ""


class MapView(BaseModel):
    """The map of a control unit, kept beside pictures that were handed in. data: as the joints of a pose."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    unit: int
    label: str
    sha256: str
    width: int
    height: int
    data: Any = None


class JobView(BaseModel):
    """A job as its owner sees it: the record, never a handle."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    id: str
    owner: str
    kind: str
    state: State
    request: dict[str, Any]
    created: float
    started: float | None = None
    finished: float | None = None
    position: int | None = None
    message: str = ""
    step: int = 0
    steps: int = 0
    image: int = 0
    image_count: int = 1
    fraction: float = 0.0
    eta_seconds: float | None = None
    preview: int = 0
    cursor: int = 0
    images: tuple[ImageInfo, ...] = ()
    notes: tuple[str, ...] = ()
    units: tuple[UnitView, ...] = ()
    maps: tuple[MapView, ...] = ()
    error: dict[str, str] | None = None
    seconds: float | None = None

    @property
    def finished_for_good(self) -> bool:
        return self.state in FINAL_STATES


class ModelInfo(BaseModel):
    """A checkpoint as the page lists it. `error` says why it cannot be used.

    settings: values of request fields that suit it; they come with its example prompts. variant: the way in which a
    model of few steps was distilled (LCM, Turbo, Lightning, ...). extra: what its U-Net reads beside the latent.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    file: str
    family: str = ""
    native_size: int = 512
    bytes: int = 0
    sha256: str | None = None
    hint: str = ""
    examples: tuple[str, ...] = ()
    settings: dict[str, int | float | str] = {}
    error: str = ""
    variant: str = ""
    prediction: str = ""
    extra: str = "none"

    @property
    def short_hash(self) -> str | None:
        return self.sha256[:10] if self.sha256 else None


def by_rank(items: Sequence[T], ranks: Sequence[float | None]) -> tuple[T, ...]:
    """The pictures of a job in the order in which it ends: the largest rank first, those without one after them."""
    last = float("-inf")
    order = sorted(range(len(items)), key=lambda at: -(last if ranks[at] is None else float(ranks[at] or 0)))
    return tuple(items[at] for at in order)
