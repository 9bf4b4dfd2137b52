"""What every request has that makes pictures. A new field stands here, or with its kind in `requests`: the page, the
command line, REST and the PNG text are drawn from it."""

from __future__ import annotations

import json
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from webui.schema.control import MAX_UNITS, ControlUnit
from webui.schema.fields import parameter
from webui.schema.images import ImageRef, reference
from webui.schema.names import EMPHASES, SAMPLER_NAMES, SCHEDULE_NAMES, Emphasis, canonical_sampler, canonical_schedule

MAX_SEED = 2**32 - 1
MAX_SIDE = 8192
MAX_STYLES = 50
MAX_STYLE_NAME = 500
MAX_PROMPT = 20_000
"""Letters of a prompt, and of the name of a style."""
StyleName = Annotated[str, Field(max_length=MAX_STYLE_NAME)]
MAX_PIXELS = 16_777_216
MAX_STEERING = 15_000_000
"""Characters of JSON that control units and extensions may hold: some seventy of the longest poses."""
AUTOMATIC_VAE, OWN_VAE = "Automatic", "None"


class Generation(BaseModel):
    """What every picture-making request has. Unknown fields are refused by name.

    ext: the values of extensions that take part, by id. absent_ext: values that another picture brought of extensions
    that take no part here. Nothing sees them; they stand in the texts of new pictures, for where the extensions run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    kind: str

    prompt: str = parameter("", title="Prompt", help="What the picture shows.", group="prompt", max_length=MAX_PROMPT)
    negative_prompt: str = parameter(
        "", title="Negative prompt", help="What the picture shall not show.", group="prompt", max_length=MAX_PROMPT
    )
    styles: tuple[StyleName, ...] = parameter(
        (), title="Styles", help="Rows of styles.csv, laid over the prompts one after another.", group="prompt",
        offers="styles", max_length=MAX_STYLES,
    )  # fmt: skip
    sampler: str = parameter(
        "DPM++ 2M", title="Sampling method", help="How the noise is removed, step by step.", group="sampling",
        infotext="Sampler", choices=SAMPLER_NAMES,
    )  # fmt: skip
    scheduler: str = parameter(
        "Automatic", title="Schedule type", help="How the noise levels are spaced; Automatic suits the sampler.",
        group="sampling", infotext="Schedule type", choices=SCHEDULE_NAMES,
    )  # fmt: skip
    steps: int = parameter(
        20, title="Sampling steps", help="More steps: slower and finer.", group="sampling", infotext="Steps", step=1,
        ge=1, le=1000,
    )  # fmt: skip
    width: int | None = parameter(
        None,
        title="Width",
        help="In pixels; empty means the model's own size.",
        group="size",
        step=8,
        ge=16,
        le=MAX_SIDE,
    )
    height: int | None = parameter(
        None,
        title="Height",
        help="In pixels; empty means the model's own size.",
        group="size",
        step=8,
        ge=16,
        le=MAX_SIDE,
    )
    n_iter: int = parameter(
        1, title="Batch count", help="How many batches, one after another.", group="batch", step=1, ge=1, le=100
    )
    batch_size: int = parameter(
        1, title="Batch size", help="How many pictures at once.", group="batch", step=1, ge=1, le=16
    )
    cfg_scale: float = parameter(
        7.0, title="CFG scale", help="How strongly the prompt pulls; 1 = off, twice as fast.", group="guidance",
        infotext="CFG scale", step=0.5, ge=1, le=30,
    )  # fmt: skip
    cfg_rescale: float = parameter(
        0.0, title="CFG rescale", help="Tames the contrast of a high CFG scale; 0 = off.", group="guidance",
        infotext="CFG rescale", step=0.05, ge=0, le=1,
    )  # fmt: skip
    seed: int = parameter(
        -1, title="Seed", help="The same seed gives the same picture; -1 = random.", group="seed", infotext="Seed",
        step=1, ge=-1, le=MAX_SEED,
    )  # fmt: skip
    subseed: int = parameter(
        -1, title="Variation seed", help="The seed that is mixed in; -1 = random.", group="seed",
        infotext="Variation seed", step=1, ge=-1, le=MAX_SEED,
    )  # fmt: skip
    subseed_strength: float = parameter(
        0.0, title="Variation strength", help="How much of the variation seed is mixed in; 0 = none.", group="seed",
        infotext="Variation seed strength", step=0.01, ge=0, le=1,
    )  # fmt: skip
    clip_skip: int = parameter(
        1, title="Clip skip", help="2 takes the text encoder's last layer but one.", group="advanced",
        infotext="Clip skip", step=1, ge=1, le=12,
    )  # fmt: skip
    emphasis: Emphasis = parameter(
        "Original", title="Emphasis mode", group="advanced", infotext="Emphasis", choices=EMPHASES,
        help="What (brackets) do. No norm suits SDXL; Ignore reads them without effect; None shows them to the model.",
    )  # fmt: skip
    eta: float | None = parameter(
        None, title="Eta", help="Fresh noise per step (DDIM, ancestral, SDE); empty means the sampler's own.",
        group="advanced", infotext="Eta", step=0.01, ge=0, le=1,
    )  # fmt: skip
    s_churn: float = parameter(
        0.0, title="Sigma churn", help="Karras et al. 2022, Algorithm 2; 0 = off.", group="advanced",
        infotext="Sigma churn", step=0.01, ge=0, le=100,
    )  # fmt: skip
    s_tmin: float = parameter(
        0.0, title="Sigma tmin", help="Churn only above this sigma.", group="advanced", infotext="Sigma tmin",
        step=0.01, ge=0, le=1000,
    )  # fmt: skip
    s_tmax: float | None = parameter(
        None, title="Sigma tmax", help="Churn only below this sigma; empty means no limit.", group="advanced",
        infotext="Sigma tmax", step=0.01, ge=0, le=1000,
    )  # fmt: skip
    s_noise: float = parameter(
        1.0, title="Sigma noise", help="How strong the fresh noise is.", group="advanced", infotext="Sigma noise",
        step=0.001, ge=0, le=2,
    )  # fmt: skip
    model: str = parameter(
        "", title="Model", help="A file under models/Stable-diffusion; empty means the default.", group="advanced"
    )
    vae: str = parameter(
        AUTOMATIC_VAE, title="VAE", group="advanced", infotext="VAE", offers="vaes",
        help="Turns latents into pixels. Automatic: the file named as the model, else its own; None: its own.",
    )  # fmt: skip
    tiled_vae: bool = parameter(
        False, title="Tiled VAE", group="advanced", infotext="Tiled VAE",
        help="Latents and pixels tile by tile, in the memory of one tile; without it, where memory is short.",
    )  # fmt: skip
    refiner: str = parameter(
        "", title="Refiner", help="Another checkpoint that ends the sampling, as SDXL's refiner does; empty: none.",
        group="refiner", infotext="Refiner", offers="refiners",
    )  # fmt: skip
    refiner_switch_at: float = parameter(
        0.8, title="Refiner switch at", help="Share of the noise that is taken away before the refiner takes over.",
        group="refiner", infotext="Refiner switch at", step=0.01, ge=0.01, le=1,
    )  # fmt: skip
    control: tuple[ControlUnit, ...] = Field((), max_length=MAX_UNITS)
    ext: dict[str, dict[str, Any]] = Field(default_factory=dict)
    absent_ext: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @field_validator("sampler")
    @classmethod
    def _known_sampler(cls, name: str) -> str:
        return canonical_sampler(name)

    @field_validator("scheduler")
    @classmethod
    def _known_schedule(cls, name: str) -> str:
        return canonical_schedule(name)

    @model_validator(mode="after")
    def _not_too_large(self) -> Self:
        if self.width and self.height and self.width * self.height > MAX_PIXELS:
            raise ValueError(f"{self.width}x{self.height} is over {MAX_PIXELS} pixels: make width or height smaller")
        return self

    @model_validator(mode="after")
    def _not_too_long(self) -> Self:
        steering = {name for name in ("control", "ext", "absent_ext") if getattr(self, name)}
        length = _json_length(self, steering) if steering else 0
        if length > MAX_STEERING:
            raise ValueError(f"control units and extensions hold {length} characters; the limit is {MAX_STEERING}")
        return self

    @property
    def image_refs(self) -> tuple[ImageRef, ...]:
        """The pictures this request needs; img2img's own come first."""
        units = (ref for unit in self.control if unit.enabled for ref in unit.image_refs)
        return (*self.own_image_refs, *units, *self.ext_image_refs)

    @property
    def ext_image_refs(self) -> tuple[ImageRef, ...]:
        """The pictures among the values of extensions."""
        values = (value for fields in self.ext.values() for value in fields.values())
        return tuple(ref for value in values if (ref := reference(value)) is not None)

    @property
    def own_image_refs(self) -> tuple[ImageRef, ...]:
        """The pictures without those of control units and extensions."""
        return ()


def _json_length(request: BaseModel, names: set[str]) -> int:
    """How many characters the JSON text of some fields has. Raises ValueError for what JSON cannot hold."""
    try:
        return len(json.dumps(request.model_dump(mode="json", include=names)))
    except ValueError:
        raise ValueError(f"{' or '.join(sorted(names))} holds a value that JSON cannot hold") from None
