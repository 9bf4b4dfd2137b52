"""A control unit: one picture that steers the drawing, and how. The same value in the page, REST and the PNG text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from webui.schema.fields import parameter
from webui.schema.images import ImageRef

BALANCED, PROMPT, CONTROL = CONTROL_MODES = (
    "Balanced",
    "My prompt is more important",
    "ControlNet is more important",
)
CONTROL_RESIZE_MODES = ("Just Resize", "Crop and Resize", "Resize and Fill")
HR_OPTIONS = ("Both", "Low res only", "High res only")
NO_PREPROCESSOR = "none"
MAX_UNITS = 100
"""Of a request. No job needs so many: it keeps a request that was made to do harm from taking the server's time."""


class ControlUnit(BaseModel):
    """One unit. image: its own picture; without one the tab's own is used (img2img, inpaint).

    params: the preprocessor's parameters by name, checked against its manifest. layer_weights: one factor per residual,
    in the place of weight and mode. region_mask: where the unit acts (white). mask: what an inpaint unit repaints.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    enabled: bool = parameter(True, title="Enable", help="Whether this unit acts.", group="control")
    image: ImageRef | None = None
    mask: ImageRef | None = None
    region_mask: ImageRef | None = None
    preprocessor: str = parameter(
        NO_PREPROCESSOR, title="Preprocessor", help="Turns the picture into a map; none takes it as it is.",
        group="control", infotext="Module",
    )  # fmt: skip
    params: dict[str, Any] = Field(default_factory=dict)
    resolution: int = parameter(
        512, title="Resolution", help="The shorter side, in pixels, at which the map is made.", group="control",
        infotext="Processor Res", step=8, ge=64, le=2048,
    )  # fmt: skip
    pixel_perfect: bool = parameter(
        False, title="Pixel perfect", help="Choose the resolution from the picture and the size that is drawn.",
        group="control", infotext="Pixel Perfect",
    )  # fmt: skip
    model: str = parameter(
        "", title="Model", help="A file under models/ControlNet; empty for preprocessors that act by themselves.",
        group="control", infotext="Model",
    )  # fmt: skip
    weight: float = parameter(
        1.0, title="Control weight", help="How strongly the map steers; 0 = not at all.", group="control",
        infotext="Weight", step=0.05, ge=0, le=2,
    )  # fmt: skip
    start: float = parameter(
        0.0, title="Starting step", help="Share of the steps after which the unit begins.", group="control",
        infotext="Guidance Start", step=0.01, ge=0, le=1,
    )  # fmt: skip
    end: float = parameter(
        1.0, title="Ending step", help="Share of the steps after which it ends.", group="control",
        infotext="Guidance End", step=0.01, ge=0, le=1,
    )  # fmt: skip
    mode: Literal["Balanced", "My prompt is more important", "ControlNet is more important"] = parameter(
        BALANCED, title="Control mode", help="What gives way where prompt and map disagree.", group="control",
        infotext="Control Mode", choices=CONTROL_MODES,
    )  # fmt: skip
    resize_mode: Literal["Just Resize", "Crop and Resize", "Resize and Fill"] = parameter(
        "Crop and Resize", title="Resize mode", help="When the map has another shape than the picture.",
        group="control", infotext="Resize Mode", choices=CONTROL_RESIZE_MODES,
    )  # fmt: skip
    hr_option: Literal["Both", "Low res only", "High res only"] = parameter(
        "Both", title="Hires-fix option", help="In which pass the unit acts.", group="control",
        infotext="Hr Option", choices=HR_OPTIONS,
    )  # fmt: skip
    layer_weights: tuple[float, ...] = ()
    union_type: str = ""
    low_vram: bool = parameter(
        False, title="Low VRAM", help="The control network leaves the GPU between calls.", group="control",
        infotext="Low Vram",
    )  # fmt: skip
    save_map: bool = parameter(
        True, title="Keep the map", help="Show and save the map with the pictures.", group="control"
    )

    @model_validator(mode="before")
    @classmethod
    def _guess_mode(cls, given: Any) -> Any:
        """`guess_mode`, which other programs take in the place of a mode: true is that control counts more."""
        if not isinstance(given, Mapping) or "guess_mode" not in given:
            return given
        rest = {name: value for name, value in given.items() if name != "guess_mode"}
        if not isinstance(given["guess_mode"], bool):
            raise ValueError("guess_mode is true or false")
        mode = {"mode": CONTROL} if given["guess_mode"] else {}
        if mode and rest.get("mode", CONTROL) != CONTROL:
            raise ValueError(f"guess_mode means the mode {CONTROL!r}, and {rest['mode']!r} is asked for")
        return {**rest, **mode}

    @model_validator(mode="after")
    def _window(self) -> Self:
        if self.enabled and self.end < self.start:
            raise ValueError(f"end {self.end:g} is before start {self.start:g}")
        return self

    @property
    def image_refs(self) -> tuple[ImageRef, ...]:
        """The pictures this unit needs."""
        return tuple(ref for ref in (self.image, self.mask, self.region_mask) if ref is not None)
