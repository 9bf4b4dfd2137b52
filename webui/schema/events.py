"""What an engine tells while a job runs. Events cross the process boundary as JSON, pixels beside them as bytes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    job_id: str


class Started(_Event):
    """The engine took the job up."""

    type: Literal["started"] = "started"


class Stage(_Event):
    """What the engine does now, in words: "loading toybox", "decoding"."""

    type: Literal["stage"] = "stage"
    message: str


class Progress(_Event):
    """How far the job is. `fraction` is of the whole job, 0 to 1; `step` of `steps` counts within the present pass.

    `step_seconds`: the median time of a step so far; `eta_seconds`: what the rest of the job will take.
    """

    type: Literal["progress"] = "progress"
    step: int
    steps: int
    image: int
    images: int
    fraction: float
    eta_seconds: float | None = None


class Preview(_Event):
    """A rough JPEG of what is being drawn; the bytes travel beside the event."""

    type: Literal["preview"] = "preview"
    image: int
    width: int
    height: int


class ImageReady(_Event):
    """A finished picture: raw RGB bytes (h w 3) travel beside the event. rank: see `webui.schema.results.by_rank`."""

    type: Literal["image"] = "image"
    index: int
    seed: int
    subseed: int
    width: int
    height: int
    prompt: str
    negative_prompt: str
    infotext: dict[str, Any] = Field(default_factory=dict)
    rank: float | None = Field(None, allow_inf_nan=False)


class Note(_Event):
    """A warning that the user shall see under the picture."""

    type: Literal["note"] = "note"
    message: str


class Prepared(_Event):
    """Extensions changed the request before it was drawn; from now on the job's pictures are of this one."""

    type: Literal["prepared"] = "prepared"
    request: dict[str, Any]


class MapReady(_Event):
    """The map of a control unit (numbered from 1): raw RGB bytes (h w 3) travel beside the event.

    save: whether the unit wants it shown and saved with the pictures. data: what belongs to it: the joints of a pose.
    """

    type: Literal["map"] = "map"
    unit: int
    label: str
    width: int
    height: int
    save: bool = True
    data: Any = None


class UnitReport(_Event):
    """What a control unit (numbered from 1) did in one pass of the job: part 0 is the first, 1 the hires pass.

    ratios: for each of `steps` (solver steps from 0 in which it acted), the mean size of what it added relative to
    what it was added to, over all pictures. note: what the user shall know, such as that it had no effect.
    """

    type: Literal["unit"] = "unit"
    unit: int
    label: str
    part: int = 0
    steps: tuple[int, ...] = ()
    ratios: tuple[float, ...] = ()
    note: str = ""


class ExtensionTimes(_Event):
    """How long the hooks of each extension took in this job: extension -> hook -> seconds."""

    type: Literal["extension_times"] = "extension_times"
    seconds: dict[str, dict[str, float]]


class Done(_Event):
    """The job ended: all pictures made, or stopped by its owner (`interrupted`)."""

    type: Literal["done"] = "done"
    interrupted: bool = False
    seconds: float = 0.0


class Failed(_Event):
    """The job ended with an error (`AtelierError.to_json`)."""

    type: Literal["failed"] = "failed"
    error: dict[str, str]


Event = Annotated[
    Started | Stage | Progress | Preview | ImageReady | Note | Prepared | MapReady | UnitReport | ExtensionTimes | Done
    | Failed,
    Field(discriminator="type"),
]  # fmt: skip
_ADAPTER: TypeAdapter[Any] = TypeAdapter(Event)


def parse_event(data: dict[str, Any]) -> Any:
    """The event that a JSON object describes."""
    return _ADAPTER.validate_python(data)
