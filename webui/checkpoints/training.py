"""How a model was trained, which shapes do not tell: what it predicts, its noise schedule, the size of its pictures.

The weakest evidence first: the family's own values, words in the file's name, modelspec's keys in the header, tensors
that mark it, a diffusers folder's configs, a YAML file beside it. `atelier.config` goes before all of these.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from webui.checkpoints.header import Header
from webui.checkpoints.notes import Notes
from webui.nn.config import ModelConfig

_V_IN_NAME = re.compile(r"v[-_ .]?pred", re.IGNORECASE)
_SD2_BASE_IN_NAME = re.compile(r"(?<!\d)512(?!\d)|(?<![a-z])base(?![a-z])|turbo", re.IGNORECASE)
_SDXL_TURBO_IN_NAME = re.compile(r"sd[-_ ]?xl[-_ ]?turbo", re.IGNORECASE)
_RESOLUTION = re.compile(r"(\d{2,4})x(\d{2,4})")
SD2_SIZES = {"epsilon": 512, "v": 768}
"""SD 2.x came at two sizes, each with its own prediction."""


def training_facts(header: Header, family: ModelConfig, notes: Notes) -> dict[str, Any]:
    """What is known of the training, in the form of `ModelConfig.to_json`."""
    prediction = (
        _said(notes.yaml) or _said(notes.folder) or _marked(header) or _modelspec(header) or _named(family, notes.name)
    )
    facts: dict[str, Any] = {"prediction": prediction} if prediction else {}
    if prediction and family.family == "sd2":
        facts["native_size"] = SD2_SIZES.get(prediction, family.native_size)
    if size := _size(header, family, notes):
        facts["native_size"] = size
    schedule = {**notes.folder.get("schedule", {}), **notes.yaml.get("schedule", {})}
    if "ztsnr" in header.tensors:
        schedule["zero_terminal_snr"] = True
    return {**facts, "schedule": schedule} if schedule else facts


def _said(facts: Mapping[str, Any]) -> str:
    return str(facts.get("prediction") or "")


def _marked(header: Header) -> str:
    return "v" if "v_pred" in header.tensors else ""


def _modelspec(header: Header) -> str:
    """modelspec's keys, https://github.com/Stability-AI/ModelSpec."""
    said = header.metadata.get("modelspec.prediction_type", "").lower()
    architecture = header.metadata.get("modelspec.architecture", "").lower()
    if said in ("v", "v_prediction") or (not said and architecture.startswith("stable-diffusion-v2-768-v")):
        return "v"
    if said in ("epsilon", "eps") or (not said and architecture.startswith("stable-diffusion-v2-512")):
        return "epsilon"
    return ""


def _named(family: ModelConfig, name: str) -> str:
    if _V_IN_NAME.search(name):
        return "v"
    return "epsilon" if family.family == "sd2" and _SD2_BASE_IN_NAME.search(name) else ""


def _size(header: Header, family: ModelConfig, notes: Notes) -> int:
    """The side of the square with as many pixels as the model was trained on; 0 where nothing says it."""
    if size := notes.folder.get("native_size"):
        return int(size)
    if hit := _RESOLUTION.fullmatch(header.metadata.get("modelspec.resolution", "").strip()):
        return round((int(hit[1]) * int(hit[2])) ** 0.5 / 64) * 64
    return 512 if family.family == "sdxl" and _SDXL_TURBO_IN_NAME.search(notes.name) else 0
