"""The stages of a job with the sizes of their parts, for its plan."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

from webui.engine.memory.estimates import TEXT_BYTES, Corrections, Work, unet_work, vae_work
from webui.engine.memory.model_parts import ModelParts
from webui.engine.memory.plan import SAID, Plan, Size, Stage, make_plan
from webui.nn.config import ModelConfig
from webui.schema.memory import GB, VramMode
from webui.schema.requests import Request, Txt2Img


def drawn_size(request: Request) -> tuple[int, int]:
    """Width and height of the largest pass, in pixels."""
    scale = request.hr_scale if isinstance(request, Txt2Img) and request.enable_hr else 1.0
    return ceil((request.width or 0) * scale), ceil((request.height or 0) * scale)


def rows_of(request: Request, config: ModelConfig) -> int:
    """Rows of one U-Net call: cond and uncond of every picture of a batch; an edit model has a third."""
    guided = 1 if request.cfg_scale == 1 else 3 if config.extra == "edit" else 2
    return guided * request.batch_size


def unet_work_of(request: Request, config: ModelConfig, itemsize: int) -> Work:
    """The largest U-Net call of a job."""
    return unet_work(config, *drawn_size(request), rows_of(request, config), itemsize)


def stages_of(
    request: Request,
    config: ModelConfig,
    parts: ModelParts,
    controls: Mapping[str, int],
    itemsize: int,
    corrections: Corrections,
) -> tuple[tuple[Stage, ...], dict[str, Size]]:
    """What a job does with a checkpoint, in order, and the size of each part. controls: name -> bytes of its control
    networks."""
    width, height = drawn_size(request)
    side = min(width * height, 512 * 512)  # whatever is larger can be worked in tiles
    decoding = corrections.of(vae_work(config, side, itemsize, "decoding"))
    encoding = corrections.of(vae_work(config, side, itemsize, "encoding"))
    stages = [Stage("text", (parts.text.name,), TEXT_BYTES)]
    if not isinstance(request, Txt2Img):
        stages.append(Stage("encode", (parts.vae.name,), encoding))
    drawing = corrections.of(unet_work_of(request, config, itemsize))
    stages.append(Stage("denoise", (parts.unet.name, *controls), drawing))
    stages.append(Stage("decode", (parts.vae.name,), decoding))
    return tuple(stages), {**parts.sizes, **{name: Size(size, size) for name, size in controls.items()}}


def job_plan(
    request: Request,
    config: ModelConfig,
    parts: ModelParts,
    controls: Mapping[str, int],
    itemsize: int,
    corrections: Corrections,
    room: int | None,
    wish: VramMode,
) -> Plan:
    """The plan of a job with a checkpoint. room: bytes of the device."""
    if wish == "med-sdxl":
        wish = "med" if config.family.startswith("sdxl") else "auto"
    stages, sizes = stages_of(request, config, parts, controls, itemsize, corrections)
    here = [part.name for part in parts if part.here]
    return make_plan(stages, sizes, room, wish, here)


def explained(plan: Plan, room: int | None) -> str:
    """Why the device is used in this manner, for the user."""
    has = (room or 0) / GB
    return (
        f"Model and picture would take {plan.together / GB:.1f} GB of the device, which has {has:.1f} GB for them: "
        f"{SAID[plan.manner]}."
    )
