"""What a checkpoint is, from the names and shapes of its tensors, which are those of an ldm single file.

Shapes tell widths, depths and numbers of channels. What they do not tell (heads, latent scale, what the network
predicts) is the family's: SD 1.x, SD 2.x, SDXL and their kin. Whoever writes a file may say it in the header, under
`atelier.config` or with modelspec's keys, or in a JSON or YAML file beside it.

SD 2.x came as a model of 512 pixels that predicts noise and one of 768 that predicts v, with equal names and shapes.
A file that does not say which is taken for the second; `{"atelier.config": {"prediction": "epsilon",
"native_size": 512}}` in a JSON file of the same name beside it says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from webui.checkpoints.depth import depth_facts
from webui.checkpoints.header import Header
from webui.checkpoints.kinds import CHECKPOINT, COMPLETE, check_kind
from webui.checkpoints.layouts import UNET, Layout, text_layouts
from webui.checkpoints.notes import Notes
from webui.checkpoints.shapes import context_width, needed, text_facts, unet_facts, vae_facts
from webui.checkpoints.training import training_facts
from webui.nn.config import (
    EXTRA_CHANNELS,
    SD15,
    SD21,
    SD21_BASE,
    SDXL,
    SDXL_REFINER,
    X4_UPSCALER,
    Extra,
    ModelConfig,
    with_extra,
)  # fmt: skip
from webui.schema.errors import ModelError

CONFIG_KEY = "atelier.config"
FAMILIES: Mapping[int, ModelConfig] = {768: SD15, 1024: SD21, 2048: SDXL}
"""By the width of what the U-Net reads as text."""


def detect_config(header: Header, notes: Notes | None = None) -> ModelConfig:
    """The architecture of a checkpoint. notes: what stands beside it; a sidecar's `atelier.config` goes before all.

    Raises:
        ModelError: the file is no Stable Diffusion checkpoint; the message says what it looks like.
    """
    notes = notes or Notes()
    said: dict[str, Any] = header.json(CONFIG_KEY) or {}
    try:
        found = {} if "unet" in said else config_facts(header, notes)
        values = merged(merged(found, said), notes.sidecar.get(CONFIG_KEY) or {})
        if values.get("extra") == "depth" and not values.get("depth"):
            values["depth"] = depth_facts(header)
        return ModelConfig.from_json(values)
    except (ValueError, TypeError, AttributeError) as error:
        raise ModelError(f"The file's architecture cannot be used: {error}.", "Get another version of it.") from error


def config_facts(header: Header, notes: Notes) -> dict[str, Any]:
    """The config of a published checkpoint, in the form of `ModelConfig.to_json`: shapes laid over the family's values,
    and what is said beside it over these.

    Raises:
        ModelError: as `detect_config`.
    """
    check_kind(header)
    family, layouts = _family(header), text_layouts(header.tensors)
    if len(layouts) != len(family.texts):
        raise ModelError(
            f"The checkpoint has {len(layouts)} text encoders, {family.family} needs {len(family.texts)}.", COMPLETE
        )
    shapes = {"unet": unet_facts(header), "vae": vae_facts(header), "texts": _texts(header, family, layouts, notes)}
    facts = merged(family.to_json(), shapes)
    for said in (notes.folder, notes.yaml):
        facts = merged(facts, {part: said[part] for part in ("unet", "vae") if part in said})
    return merged(facts, training_facts(header, family, notes))


def _texts(header: Header, family: ModelConfig, layouts: Sequence[Layout], notes: Notes) -> list[dict[str, Any]]:
    folder = notes.folder.get("texts") or [{}] * len(layouts)
    texts = []
    for layout, known, said in zip(layouts, family.to_json()["texts"], folder, strict=True):
        text = {**known, **text_facts(header, layout), **said}
        if _lacks_a_layer(known, text["layers"], bool(notes.folder)):
            text |= {"layers": text["layers"] + 1, "absent": 1}
        text["projection"] = text["projection"] if text["pooled"] else None
        texts.append(text)
    return texts


def _lacks_a_layer(known: Mapping[str, Any], layers: int, in_folder: bool) -> bool:
    """Whether diffusers wrote a text encoder of the family's kind, without the layer that is not read."""
    unread = known["default_layer"] == "penultimate" and known["final_norm"] and not known["pooled"]
    return bool(unread and (in_folder or layers + 1 == known["layers"]))


def _family(header: Header) -> ModelConfig:
    """The family by the width of the text that the U-Net reads, and what it reads beside the latent."""
    width, extra = context_width(header), _extra(header)
    if f"{UNET}label_emb.weight" in header.tensors and width == SD21.unet.context_dim:
        return X4_UPSCALER
    if width == SDXL_REFINER.unet.context_dim:
        return SDXL_REFINER
    if width not in FAMILIES:
        raise ModelError(f"The U-Net reads text of {width} channels, which no known family does.", CHECKPOINT)
    if extra == "none":
        return FAMILIES[width]
    # SD 2.x's inpainting and depth models were made of the 512-pixel base model
    return with_extra(SD21_BASE if FAMILIES[width] is SD21 else FAMILIES[width], extra)


def _extra(header: Header) -> Extra:
    """What a U-Net of so many channels more than it gives out reads; "none" where no published one has as many."""
    channels = needed(header, f"{UNET}input_blocks.0.0.weight")[1] - needed(header, f"{UNET}out.2.weight")[0]
    return next((extra for extra, count in EXTRA_CHANNELS.items() if count == channels), "none")


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """JSON objects laid one over the other; objects inside are merged, all else is replaced."""
    both = base.keys() & over.keys()
    inner = {
        key: merged(base[key], over[key])
        for key in both
        if isinstance(base[key], Mapping) and isinstance(over[key], Mapping)
    }
    return {**base, **over, **inner}
