"""The parts of a Stable Diffusion model that a file holds, in whatever layout: U-Net, autoencoder, text encoders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from webui.checkpoints.header import Header
from webui.checkpoints.layouts import TOKENS, text_layouts
from webui.checkpoints.names import text_names, unet_names, vae_names

FAMILIES: Mapping[int, tuple[str, tuple[str, ...]]] = {
    768: ("SD 1.x", ("CLIP-L",)),
    1024: ("SD 2.x", ("OpenCLIP-H",)),
    1280: ("the SDXL refiner", ("OpenCLIP-bigG",)),
    2048: ("SDXL", ("CLIP-L", "OpenCLIP-bigG")),
}
"""Channels of the text that a U-Net reads -> its family, and the text encoders that it needs."""
ENCODERS: Mapping[int, str] = {768: "CLIP-L", 1024: "OpenCLIP-H", 1280: "OpenCLIP-bigG"}
"""Width of a text encoder -> its name."""
UNKNOWN = "of a kind that is not known here"
LATENTS = 4
"""Channels of every Stable Diffusion up to XL."""


@dataclass(frozen=True)
class Parts:
    """What a file holds. context: channels of the text that its U-Net reads, None where there is no U-Net, 0 where it
    reads none; latents: channels of its autoencoder's latents, None without one; texts: names of its encoders."""

    context: int | None = None
    latents: int | None = None
    texts: tuple[str, ...] = ()

    @property
    def family(self) -> str:
        """Of the U-Net, "" where it tells none."""
        return FAMILIES.get(self.context or 0, ("", ()))[0]

    @property
    def wanted(self) -> tuple[str, ...]:
        """The text encoders that the U-Net needs."""
        return FAMILIES.get(self.context or 0, ("", (UNKNOWN,)))[1]

    @property
    def missing_texts(self) -> tuple[str, ...]:
        """Those of them that are not in the file."""
        absent = tuple(name for name in self.wanted if name not in self.texts)
        return absent[: max(0, len(self.wanted) - len(self.texts))]

    @property
    def missing(self) -> tuple[str, ...]:
        """What the U-Net needs that is not in the file."""
        texts = " and ".join(self.missing_texts)
        said = f"its text encoder{'s'[: len(self.missing_texts) - 1]} {texts}".removesuffix(UNKNOWN).rstrip()
        return (*(("its VAE",) if self.latents is None else ()), *((said,) if texts else ()))


def parts_of(header: Header) -> Parts:
    """The parts in a file; empty where it holds none that is known here."""
    names = header.tensors
    unet, vae = unet_names(names), vae_names(names)
    return Parts(_context(header) if unet else None, _latents(header, vae), _texts(header))


def _context(header: Header) -> int:
    found = (tensor.shape for name, tensor in header.tensors.items() if name.endswith("attn2.to_k.weight"))
    return next((shape[1] for shape in found if len(shape) == 2), 0)


def _latents(header: Header, vae: Mapping[str, str]) -> int | None:
    shape = header.shape(vae.get("decoder.conv_in.weight", ""))
    return (shape[1] if shape and len(shape) > 1 else 0) if vae else None


def _texts(header: Header) -> tuple[str, ...]:
    tables = [layout(TOKENS).name for layout in text_layouts(header.tensors)]
    alone = text_names(header.tensors)
    tables += [name for ours, name in alone.items() if ours.endswith("token_embedding.weight")]
    shapes = (header.shape(table) for table in tables)
    return tuple(ENCODERS.get(shape[-1] if shape else 0, UNKNOWN) for shape in shapes)
