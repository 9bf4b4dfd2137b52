"""A CLIP model of transformers (Radford et al. 2021, arXiv:2103.00020) in a folder as it is published.

Pictures are prepared by the image processor that works with PIL. Nothing is fetched, and no pickle is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor

from webui.ext import BadRequest

if TYPE_CHECKING:
    from webui.ext import ModelFiles

DECLARED = "clip_vit_base_patch32"
SYNTAX = re.compile(r"<[^<>]*>|\bBREAK\b|:\s*[+-]?[\d.]+\s*(?=[)\]])|(?<!\\)[()\[\]]|\\(?=[()\[\]\\])")
"""What a prompt says to the program and not to CLIP: networks, chunks, weights, brackets, escapes."""


@dataclass(frozen=True)
class Clip:
    """network: on `device`, float32. tokenizer, processor: of the same folder."""

    network: Any
    tokenizer: Any
    processor: Any
    device: str

    @torch.no_grad()
    def of_images(self, images: Sequence[Image.Image]) -> Tensor:
        """Unit vectors (b e)."""
        prepared = self.processor([image.convert("RGB") for image in images], return_tensors="pt")
        pixels = prepared["pixel_values"].to(self.device)
        return unit(self.network.get_image_features(pixel_values=pixels).pooler_output)

    @torch.no_grad()
    def of_texts(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors (b e). What is longer than the model reads is cut off."""
        longest = self.network.config.text_config.max_position_embeddings
        tokens = self.tokenizer(list(texts), padding=True, truncation=True, max_length=longest, return_tensors="pt")
        given = {name: tokens[name].to(self.device) for name in ("input_ids", "attention_mask")}
        return unit(self.network.get_text_features(**given).pooler_output)

    @property
    def scale(self) -> float:
        """By which cosines are multiplied before a softmax over texts."""
        return float(self.network.logit_scale.exp())

    def reads_all(self, text: str) -> bool:
        """Whether a text is not too long for the model."""
        return len(self.tokenizer(text)["input_ids"]) <= self.network.config.text_config.max_position_embeddings


def open_clip(models: ModelFiles, name: str) -> Clip:
    """The model in the folder of this name.

    Raises:
        NotFound: files of the declared one are missing. BadRequest: there is no such folder, or no CLIP model in it.
    """
    folder = folder_of(models, name)
    network = models.load(f"network {name}", lambda: load_network(folder))
    tokenizer, processor = models.load(f"reading {name}", lambda: load_reading(folder))
    return Clip(network.to(models.device), tokenizer, processor, models.device)


def folder_of(models: ModelFiles, name: str) -> Path:
    """Raises as `open_clip`."""
    plain = Path(name).name == name and name not in ("", ".", "..")
    folder = models.folder / name
    if not plain or not (folder / "config.json").is_file():
        declared = models.path(DECLARED)  # tells what to put where, if that is not there either
        if declared.name == name:
            return declared
        raise BadRequest(
            f"There is no CLIP model {name!r}.", f"Put its folder into {models.folder}, or use {declared.name!r}."
        )
    kind = model_type(folder / "config.json")
    if kind != "clip":
        raise BadRequest(f"{name!r} holds a model of the kind {kind!r}, not a CLIP model.", "Choose another folder.")
    if not list(folder.glob("*.safetensors")):
        raise BadRequest(f"{name!r} holds no .safetensors file.", "Pickles are never loaded: fetch the safetensors.")
    return folder


def model_type(config: Path) -> str:
    """What a config.json says the model is; "" where it says nothing that can be read."""
    try:
        told = json.loads(config.read_text(encoding="utf-8"))
    except ValueError:
        return ""
    return str(told.get("model_type", "")) if isinstance(told, dict) else ""


def load_network(folder: Path) -> torch.nn.Module:
    """The network of a folder, on the CPU."""
    from transformers import CLIPModel

    network = CLIPModel.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=torch.float32)
    return network.eval().requires_grad_(False)


def load_reading(folder: Path) -> tuple[Any, Any]:
    """What makes numbers of texts, and of pictures."""
    from transformers import CLIPImageProcessorPil, CLIPTokenizer

    return (
        CLIPTokenizer.from_pretrained(folder, local_files_only=True),
        CLIPImageProcessorPil.from_pretrained(folder, local_files_only=True),
    )


def unit(x: Tensor) -> Tensor:
    """(b e), each of length 1."""
    return x / x.norm(dim=-1, keepdim=True)


def spoken(prompt: str) -> str:
    """The words of a prompt, without weights, networks and brackets."""
    return re.sub(r"[\s,]*\n[\s,]*|\s*,(?:\s*,)+\s*|\s+", lambda gap: ", " if "," in gap[0] else " ",
                  SYNTAX.sub("", prompt)).strip(" ,")  # fmt: skip
