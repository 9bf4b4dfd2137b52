"""What a file under models/ControlNet is, from the names and shapes of its tensors: no weights are read.

A file may say itself what shapes do not tell: `atelier.config` in its header or in a JSON file beside it gives the
family and the U-Net (as in a checkpoint), `atelier.control` gives {"pooled": true} or {"hint": "inpaint"}. A diffusers
folder's `config.json` is read as well. Files without either are known by name, as their authors meant them to be:
"shuffle" is pooled, "inpaint" reads -1 where the mask is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from webui.checkpoints.control_layouts import DIFFUSERS_MARK, HINT, PREFIX, bare_names, has_difference
from webui.checkpoints.detect import CONFIG_KEY, FAMILIES, merged
from webui.checkpoints.header import Header
from webui.checkpoints.kinds import CONTROLS, wrong_kind
from webui.checkpoints.layouts import UNET
from webui.checkpoints.shapes import encoder_facts
from webui.nn.config import SD15, SDXL, ModelConfig, UNetConfig
from webui.schema.errors import ModelError

CONTROL_KEY = "atelier.control"
Layout = Literal["ldm", "bare", "diffusers", "full", "light"]
CONTROLNET, UNION, CONTROL_LORA = "ControlNet", "ControlNet-Union", "Control-LoRA"
T2I_ADAPTER, IP_ADAPTER = "T2I-Adapter", "IP-Adapter"
CONTROL_KINDS = (CONTROLNET, UNION, CONTROL_LORA, T2I_ADAPTER, IP_ADAPTER)
UNION_TYPES = (
    "openpose",
    "depth",
    "hed/pidi/scribble/ted",
    "canny/lineart/mlsd",
    "normal",
    "segment",
    "tile",
    "repaint",
)

_FOLDER = "Put a ControlNet, T2I-Adapter or IP-Adapter into models/ControlNet."
_OTHER = "Use another file."


class UnknownControl(ModelError):
    """A sound file of a kind that is not known here."""


@dataclass(frozen=True)
class ControlInfo:
    """A control file. family: of the checkpoints it fits. unet: the encoder it copies, where it is a ControlNet.

    residuals: how many it gives. hint_channels: of the picture it reads. difference: its weights are to be added to the
    U-Net's. short_middle: its middle is one residual block alone. pooled: its residuals are averaged over the picture.
    inpaint: masked pixels of its hint are -1. bgr: it was trained on blue, green, red. union_types: how many kinds of
    map it knows. plus: an IP-Adapter of many tokens.
    """

    kind: str
    layout: Layout = "ldm"
    family: str = ""
    unet: UNetConfig | None = None
    residuals: int = 0
    hint_channels: int = 3
    hint_widths: tuple[int, ...] = (16, 32, 96, 256)
    short_middle: bool = False
    difference: bool = False
    pooled: bool = False
    inpaint: bool = False
    bgr: bool = False
    union_types: int = 0
    plus: bool = False


def detect_control(header: Header, name: str = "", beside: Mapping[str, Any] | None = None) -> ControlInfo:
    """What a file is.

    name: of the file, as the user sees it. beside: the JSON object of the file beside it, or of a diffusers folder.

    Raises:
        ModelError: it is nothing that steers Stable Diffusion 1.x, 2.x or XL; the message says what it looks like.
    """
    names = header.tensors
    _refuse(names)
    for found, detect in _DETECTORS:
        if found(names):
            return _said(detect(header, beside or {}), header, name, beside or {})
    error = wrong_kind(header, "control model", CONTROLS, _FOLDER)
    raise UnknownControl(error.message, error.cure)


def control_info(header: Header) -> ControlInfo | None:
    """What a file is, by its header alone; None where that is nothing that is known here."""
    try:
        return detect_control(header)
    except ModelError:
        return None


def _said(info: ControlInfo, header: Header, name: str, beside: Mapping[str, Any]) -> ControlInfo:
    """The info with what the file says of itself, or its name."""
    said = {**(header.json(CONTROL_KEY) or {}), **(beside.get(CONTROL_KEY) or {})}
    plain, order = name.lower(), "bgr" if info.bgr else "rgb"
    return replace(
        info,
        family=str(said.get("family", info.family)),
        pooled=bool(said.get("pooled", beside.get("global_pool_conditions", "shuffle" in plain))),
        inpaint=said.get("hint") == "inpaint"
        or ("hint" not in said and "inpaint" in plain and info.kind == CONTROLNET),
        bgr=str(said.get("order", beside.get("controlnet_conditioning_channel_order", order))).lower() == "bgr",
    )


def _controlnet(header: Header, beside: Mapping[str, Any]) -> ControlInfo:
    bare = bare_header(header)
    config = _architecture(bare, header, beside)
    zeros = sum(name.startswith("zero_convs.") and name.endswith("weight") for name in bare.tensors)
    prefixed = PREFIX + HINT in header.tensors
    layout: Layout = "diffusers" if DIFFUSERS_MARK in header.tensors else "ldm" if prefixed else "bare"
    return ControlInfo(
        UNION if "control_add_embedding.linear_1.weight" in bare.tensors else CONTROLNET,
        layout,
        config.family,
        config.unet,
        zeros + 1,
        _needed(bare, HINT)[1],
        hint_widths(bare),
        not any(name.startswith(("middle_block.1.", "middle_block.2.")) for name in bare.tensors),
        has_difference(header.tensors),
        union_types=(bare.shape("task_embedding") or (0,))[0],
    )


def _control_lora(header: Header, beside: Mapping[str, Any]) -> ControlInfo:
    zeros = sum(name.startswith("zero_convs.") and name.endswith("weight") for name in header.tensors)
    is_sd = any(name.startswith("input_blocks.11.0.") for name in header.tensors)
    width = (header.shape("input_blocks.4.1.transformer_blocks.0.attn2.to_k.down") or (0, 768))[1]
    sd = FAMILIES[width].family if width in FAMILIES else ""
    family = (header.json(CONFIG_KEY) or {}).get("family") or (sd if is_sd else SDXL.family)
    return ControlInfo(
        CONTROL_LORA, "bare", family, None, zeros + 1, _needed(header, HINT)[1], hint_widths(header)
    )  # fmt: skip


def _t2i_adapter(header: Header, beside: Mapping[str, Any]) -> ControlInfo:
    names = header.tensors
    layout: Layout = "diffusers" if any(name.startswith("adapter.") for name in names) else "full"
    light = "body.0.in_conv.weight" in names or "adapter.body.0.in_conv.weight" in names
    first = next(shape for name in _T2I_FIRST if (shape := header.shape(name)) is not None)
    family, factor = ("sd1", 8) if first[1] in (64, 192) else ("sdxl", 16)
    if light and layout == "full":
        layout = "light"
    return ControlInfo(T2I_ADAPTER, layout, family, None, 4, first[1] // factor**2, bgr=family == "sdxl")


def _ip_adapter(header: Header, beside: Mapping[str, Any]) -> ControlInfo:
    width = _needed(header, "ip_adapter.1.to_k_ip.weight")[1]
    family = FAMILIES[width].family if width in FAMILIES else ""
    return ControlInfo(IP_ADAPTER, "bare", family, plus="image_proj.latents" in header.tensors)


def bare_header(header: Header) -> Header:
    """The header of a ControlNet with bare ldm names, whatever layout the file has."""
    names = bare_names(header.tensors)
    return Header({name: header.tensors[theirs] for name, theirs in names.items()}, header.metadata)


def hint_widths(header: Header) -> tuple[int, ...]:
    """Widths of the hint block's levels, finest first: (16, 32, 96, 256) of all that were published."""
    convs = [header.shape(f"input_hint_block.{index}.weight") for index in range(0, 40, 2)]
    widths = [shape[0] for shape in convs if shape is not None][:-1]
    return tuple(widths[:1] + widths[2::2])


def _architecture(bare: Header, header: Header, beside: Mapping[str, Any]) -> ModelConfig:
    """The model whose encoder a ControlNet copies: the family's values, the shapes, what the file says."""
    as_unet = Header({UNET + name: tensor for name, tensor in bare.tensors.items()})
    family = _family(bare)
    facts = {"unet": {**encoder_facts(as_unet), **_text_width(bare)}}
    said = {**(header.json(CONFIG_KEY) or {}), **(beside.get(CONFIG_KEY) or {})}
    known = {key: said[key] for key in ("family", "unet") if key in said}
    try:
        return ModelConfig.from_json(merged(merged(family.to_json(), facts), known))
    except (ValueError, TypeError, AttributeError) as error:
        raise ModelError(f"The file's architecture cannot be used: {error}.", _OTHER) from error


def _family(bare: Header) -> ModelConfig:
    """By the width of the text it reads; small ControlNets for SDXL read none, but have its vector condition."""
    if "label_emb.0.0.weight" in bare.tensors:
        return SDXL
    return FAMILIES.get(_text_width(bare).get("context_dim", 0), replace(SD15, family=""))


def _text_width(bare: Header) -> dict[str, int]:
    widths = (tensor.shape[1] for name, tensor in bare.tensors.items() if name.endswith("attn2.to_k.weight"))
    width = next(widths, None)
    return {} if width is None else {"context_dim": width}


def _needed(header: Header, name: str) -> tuple[int, ...]:
    shape = header.shape(name)
    if shape is None or len(shape) < 2:
        raise ModelError(f"The control model is not whole: {name} is missing.", "Download it again.")
    return shape


Names = Mapping[str, Any]
_T2I_FIRST = (
    "adapter.conv_in.weight", "conv_in.weight", "adapter.body.0.in_conv.weight", "body.0.in_conv.weight",
)  # fmt: skip


def _has(*parts: str) -> Callable[[Names], bool]:
    return lambda names: any(part in names for part in parts)


def _starts(*starts: str) -> Callable[[Names], bool]:
    return lambda names: any(name.startswith(starts) for name in names)


_DETECTORS: tuple[tuple[Callable[[Names], bool], Callable[[Header, Mapping[str, Any]], ControlInfo]], ...] = (
    (_has("lora_controlnet"), _control_lora),
    (_has(DIFFUSERS_MARK, PREFIX + HINT, HINT), _controlnet),
    (_has("adapter.body.0.resnets.0.block1.weight", "body.0.block1.weight", "body.0.in_conv.weight",
          "adapter.body.0.in_conv.weight"), _t2i_adapter),
    (_has("ip_adapter.1.to_k_ip.weight"), _ip_adapter),
)  # fmt: skip


def _refuse(names: Names) -> None:
    """Raises ModelError for files that are known, but not supported."""
    for found, what, cure in _REFUSED:
        if found(names):
            raise ModelError(f"This is {what}.", cure)


_REFUSED: tuple[tuple[Callable[[Names], bool], str, str], ...] = (
    (lambda names: not names, "an empty file, without any tensor", "Download it again."),
    (_starts("lllite"), "a ControlLLLite, which is not supported", "Use a ControlNet of the same kind."),
    (lambda names: any("motion_modules" in name for name in names), "a SparseCtrl model, made for video", _OTHER),
    (_has("style_embedding"), "a T2I style adapter, which is not supported", "Use an IP-Adapter in its place."),
    (_starts("controlnet_x_embedder", "controlnet_blocks."),
     "a control model for Flux or Stable Diffusion 3", "Use one for Stable Diffusion 1.x, 2.x or XL."),
    (_starts("image_proj.perceiver_resampler.proj_in"), "an IP-Adapter FaceID, which needs a face model", _OTHER),
)  # fmt: skip
