"""Requests are frozen values. Whoever wants a change makes a copy: `request.model_copy(update={"seed": 2})`."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import ValidationError, field_validator, model_validator

from webui.schema.errors import BadRequest
from webui.schema.fields import parameter
from webui.schema.generation import MAX_PIXELS, MAX_PROMPT, Generation
from webui.schema.images import ImageRef as ImageRef
from webui.schema.names import SAMPLER_NAMES, SCHEDULE_NAMES, canonical_sampler, canonical_schedule
from webui.schema.validation import describe_validation

RESIZE_MODES = ("Just resize", "Crop and resize", "Resize and fill")
MASKED_CONTENTS = ("fill", "original", "latent noise", "latent nothing")
INPAINT_AREAS = ("Whole picture", "Only masked")
LATENT_UPSCALERS = (
    "Latent", "Latent (antialiased)", "Latent (bicubic)", "Latent (bicubic antialiased)", "Latent (nearest)",
    "Latent (nearest-exact)",
)  # fmt: skip
IMAGE_UPSCALERS = ("Lanczos", "Nearest")
UPSCALERS = LATENT_UPSCALERS + IMAGE_UPSCALERS


class Txt2Img(Generation):
    """A picture from words."""

    kind: Literal["txt2img"] = "txt2img"
    enable_hr: bool = parameter(
        False, title="Hires. fix", help="Draw small, enlarge, draw again with more detail.", group="hires"
    )
    hr_scale: float = parameter(
        2.0, title="Upscale by", help="How much larger the second pass is.", group="hires", infotext="Hires upscale",
        step=0.05, ge=1, le=4,
    )  # fmt: skip
    hr_upscaler: str = parameter(
        "Latent", title="Upscaler", help="Latent ones redraw more and want a higher denoising strength.",
        group="hires", infotext="Hires upscaler", choices=UPSCALERS,
    )  # fmt: skip
    hr_steps: int = parameter(
        0, title="Hires steps", help="0 = as many as the first pass.", group="hires", infotext="Hires steps", step=1,
        ge=0, le=1000,
    )  # fmt: skip
    hr_model: str = parameter(
        "", title="Hires checkpoint", help="Another checkpoint for the second pass; empty: the same.", group="hires",
        infotext="Hires checkpoint", offers="models",
    )  # fmt: skip
    hr_sampler_name: str = parameter(
        "", title="Hires sampler", help="Another sampling method for the second pass; empty: the same.",
        group="hires", infotext="Hires sampler", choices=("", *SAMPLER_NAMES),
    )  # fmt: skip
    hr_scheduler: str = parameter(
        "", title="Hires schedule type", group="hires", infotext="Hires schedule type", choices=("", *SCHEDULE_NAMES),
        help="Another schedule for the second pass; empty: the same. Automatic suits its sampler.",
    )  # fmt: skip
    hr_cfg: float | None = parameter(
        None, title="Hires CFG scale", help="Of the second pass; empty: the same.", group="hires",
        infotext="Hires CFG Scale", step=0.5, ge=1, le=30,
    )  # fmt: skip
    hr_prompt: str = parameter(
        "", title="Hires prompt", help="In the place of the prompt in the second pass; empty: the same.",
        group="hires", infotext="Hires prompt", max_length=MAX_PROMPT,
    )  # fmt: skip
    hr_negative_prompt: str = parameter(
        "", title="Hires negative prompt", help="Of the second pass; empty: the same.", group="hires",
        infotext="Hires negative prompt", max_length=MAX_PROMPT,
    )  # fmt: skip
    denoising_strength: float = parameter(
        0.7, title="Denoising strength", help="Hires pass: 0 keeps the enlarged picture, 1 draws it anew.",
        group="hires", infotext="Denoising strength", step=0.01, ge=0, le=1,
    )  # fmt: skip

    @field_validator("hr_upscaler")
    @classmethod
    def _known_upscaler(cls, name: str) -> str:
        return _one_of("upscaler", name, UPSCALERS)

    @field_validator("hr_sampler_name")
    @classmethod
    def _known_hires_sampler(cls, name: str) -> str:
        return canonical_sampler(name) if name.strip() else ""

    @field_validator("hr_scheduler")
    @classmethod
    def _known_hires_schedule(cls, name: str) -> str:
        return canonical_schedule(name) if name.strip() else ""

    @field_validator("hr_prompt", "hr_negative_prompt")
    @classmethod
    def _blank_is_empty(cls, prompt: str) -> str:
        return prompt if prompt.strip() else ""

    @model_validator(mode="after")
    def _hires_not_too_large(self) -> Self:
        if self.enable_hr and self.width and self.height and self.width * self.height * self.hr_scale**2 > MAX_PIXELS:
            raise ValueError(f"the hires pass is over {MAX_PIXELS} pixels: lower 'Upscale by'")
        return self


class Img2Img(Generation):
    """A picture from words and a picture. Size empty: the picture's own."""

    kind: Literal["img2img", "inpaint"] = "img2img"
    init_image: ImageRef
    denoising_strength: float = parameter(
        0.75, title="Denoising strength", help="0 keeps the picture, 1 draws it anew.", group="image",
        infotext="Denoising strength", step=0.01, ge=0, le=1,
    )  # fmt: skip
    image_cfg_scale: float = parameter(
        1.5, title="Image CFG scale", help="How strongly an edit model keeps to the picture; 1 = off, a row less.",
        group="guidance", infotext="Image CFG scale", step=0.05, ge=0, le=10,
    )  # fmt: skip
    noise_level: int = parameter(
        20, title="Noise level", help="x4 upscaler: noise on the small picture; more changes it more.", group="image",
        infotext="Noise level", step=1, ge=0, le=350,
    )  # fmt: skip
    inpainting_mask_weight: float = parameter(
        1.0, title="Conditional mask weight", group="image", infotext="Conditional mask weight",
        help="Of what is under the mask, an inpainting model sees nothing at 1, all of it at 0.", step=0.01, ge=0, le=1,
    )  # fmt: skip
    resize_mode: str = parameter(
        "Just resize", title="Resize mode", help="When the picture has another shape than the size asked for.",
        group="image", choices=RESIZE_MODES, infotext="Resize mode",
    )  # fmt: skip

    @field_validator("resize_mode")
    @classmethod
    def _known_resize_mode(cls, name: str) -> str:
        return _one_of("resize mode", name, RESIZE_MODES)

    @property
    def own_image_refs(self) -> tuple[ImageRef, ...]:
        return (self.init_image,)


class Inpaint(Img2Img):
    """Repaint the white part of a mask."""

    kind: Literal["inpaint"] = "inpaint"
    mask: ImageRef
    mask_blur: int = parameter(
        4, title="Mask blur", help="In pixels: how soft the rim of the mask is.", group="mask", infotext="Mask blur",
        step=1, ge=0, le=64,
    )  # fmt: skip
    mask_invert: bool = parameter(
        False, title="Inpaint not masked", help="Repaint what is not under the mask.", group="mask"
    )
    masked_content: str = parameter(
        "original", title="Masked content", help="What stands under the mask before drawing starts.", group="mask",
        choices=MASKED_CONTENTS, infotext="Masked content",
    )  # fmt: skip
    inpaint_area: str = parameter(
        "Whole picture", title="Inpaint area", help="Only masked: the region alone is drawn, at the full size.",
        group="mask", choices=INPAINT_AREAS, infotext="Inpaint area",
    )  # fmt: skip
    padding: int = parameter(
        32, title="Only masked padding", help="In pixels: how much around the mask is seen.", group="mask",
        infotext="Masked area padding", step=4, ge=0, le=256,
    )  # fmt: skip

    @field_validator("masked_content")
    @classmethod
    def _known_content(cls, name: str) -> str:
        return _one_of("masked content", name, MASKED_CONTENTS)

    @field_validator("inpaint_area")
    @classmethod
    def _known_area(cls, name: str) -> str:
        return _one_of("inpaint area", name, INPAINT_AREAS)

    @property
    def own_image_refs(self) -> tuple[ImageRef, ...]:
        return (self.init_image, self.mask)


Request = Txt2Img | Img2Img | Inpaint
REQUESTS: dict[str, type[Txt2Img] | type[Img2Img] | type[Inpaint]] = {
    "txt2img": Txt2Img,
    "img2img": Img2Img,
    "inpaint": Inpaint,
}


def parse_request(data: dict[str, Any]) -> Request:
    """The request that a JSON object describes; its `kind` says which.

    Raises:
        BadRequest: names each field that is wrong, and why.
    """
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in REQUESTS:
        raise BadRequest(f"There is no request of kind {kind!r}.", f"Known kinds: {', '.join(REQUESTS)}.")
    try:
        return REQUESTS[kind].model_validate(data)
    except ValidationError as error:
        raise BadRequest(describe_validation(error, REQUESTS[kind])) from None


def _one_of(what: str, name: str, known: tuple[str, ...]) -> str:
    if name not in known:
        raise ValueError(f"unknown {what} {name!r}; choose one of: {', '.join(known)}")
    return name
