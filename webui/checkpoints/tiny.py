"""The tiny autoencoders (TAESD) at hand, whose decoders draw previews. No torch; nothing of the weights is read.

Their files do not tell whose latents they decode: published ones have "xl" in their name where those are SDXL's.
Layouts: TAESD's own, one file for each half ("1.weight", "3.conv.0.weight"), the same behind a prefix, and diffusers'
AutoencoderTiny, which counts the decoder's layers without the first, as that has no weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from webui.checkpoints.disk import SOON, Folder
from webui.checkpoints.entries import Listing
from webui.checkpoints.files import Stamp, model_files
from webui.checkpoints.forms import Entry, Memory, Spot, spots_of
from webui.checkpoints.header import PICKLES, Header, read_header
from webui.checkpoints.kinds import TINY, wrong_kind
from webui.checkpoints.listing import refuse_pickle
from webui.checkpoints.names import Renamed
from webui.checkpoints.places import Place, Places
from webui.nn.config import SD15, SDXL, VAEConfig
from webui.schema.errors import AtelierError, ModelError

Half = Literal["encoder", "decoder"]
FIRST: dict[Half, str] = {"encoder": "0.weight", "decoder": "1.weight"}
"""The weight of each half's first convolution, under our names."""
BLOCK: dict[Half, str] = {"encoder": "1.conv.0.weight", "decoder": "3.conv.0.weight"}
LAST: dict[Half, str] = {"encoder": "14.weight", "decoder": "19.weight"}
_LAYER = re.compile(r"(\d+)\.(.+)")
ROUGH = ("model", "vaeapprox-sdxl", "vaeapprox-sd3")
"""A1111's own small networks for previews, which it puts beside TAESD's."""
_STEMS = ("diffusion_pytorch_model", "model")
"""Files that diffusers names after nothing: they go by their folder's name."""
_DOWNLOAD = "Get taesd_decoder.safetensors, or taesdxl_decoder.safetensors for SDXL."
_WANTED = ("tiny autoencoder", TINY, _DOWNLOAD)


@dataclass(frozen=True)
class TinyFile:
    """A file as lists show it. halves: what it holds; sdxl: whether it speaks SDXL's latents, else those of SD 1.x and
    2.x; `error` says why it cannot be used."""

    name: str
    path: Path
    bytes: int = 0
    halves: tuple[Half, ...] = ()
    sdxl: bool = False
    error: str = ""

    @property
    def said(self) -> str:
        """What it is, in words."""
        whose = "SDXL" if self.sdxl else "SD 1.x, SD 2.x"
        what = "tiny autoencoder for previews" if "decoder" in self.halves else "encoder of a tiny autoencoder"
        return self.error or f"{what}, {whose}"

    def decodes(self, vae: VAEConfig) -> bool:
        """Whether latents of checkpoints with this VAE become pictures by it."""
        meant = SDXL.vae if self.sdxl else SD15.vae
        return not self.error and "decoder" in self.halves and vae.latent_space == meant.latent_space


class Form:
    """How tiny autoencoders are listed. Nothing of them is kept: there are few."""

    kind = "vae_approx"
    index = ""

    def spots(self, place: Place, folder: Folder) -> Iterator[Spot]:
        return spots_of(place, folder, model_files(folder), lambda stem: stem in _STEMS)

    def describe(self, path: Path, name: str, size: int) -> TinyFile:
        return describe_tiny(path, name, size)

    def names(self, item: TinyFile) -> Sequence[Sequence[str]]:
        return (item.name,), (item.path.name, item.name.rsplit("/", 1)[-1])

    def usable(self, item: TinyFile) -> bool:
        return not item.error

    def dump(self, item: TinyFile, stamp: Stamp) -> str | None:
        return None

    def load(self, text: str, path: Path, name: str, size: int) -> TinyFile:
        raise ValueError("nothing is kept of tiny autoencoders")


class TinyCatalogue:
    """Tiny autoencoders of all places. Safe to use from several threads."""

    def __init__(self, where: Places | Path | str, memory: Memory | None = None) -> None:
        self._listing = Listing(Places.of(where).of_kind("vae_approx"), Form(), memory or Memory())

    def list(self) -> list[TinyFile]:
        """All files by name, also those that cannot be used."""
        return [entry.item for entry in self.entries()]

    def entries(self, age: float = SOON) -> Sequence[Entry[TinyFile]]:
        """The same, with where they lie. age: seconds that a look at the disk may be old."""
        return self._listing.snapshot(age).by_name

    def decoder(self, vae: VAEConfig) -> TinyFile | None:
        """The file that draws previews for checkpoints with this VAE; None where there is none."""
        return next((file for file in self.list() if file.decodes(vae)), None)


def describe_tiny(path: Path, name: str, size: int = 0) -> TinyFile:
    """What the header of a file says, or in `error` why it cannot be used."""
    try:
        if name in ROUGH and path.suffix.lower() in PICKLES:
            raise _rough(path)
        refuse_pickle(path)
        header = read_header(path)
        halves = tuple(half for half in FIRST if tiny_names(header.tensors, half))
        if not halves:
            raise _rough(path) if header.shape("conv8.weight") else wrong_kind(header, *_WANTED)
        for half in halves:
            tiny_sizes(header, half)
        return TinyFile(name, path, size, halves, "xl" in name.lower())
    except AtelierError as error:
        return TinyFile(name, path, size, error=str(error))


def tiny_names(names: Iterable[str], half: Half) -> Renamed:
    """The tensors of a half among these; empty where it is not there."""
    names = frozenset(names)
    unweighed = int(half == "decoder")
    for prefix, shift in ((f"{half}.layers.", unweighed), ("", 0), (f"{half}.", 0), (f"taesd_{half}.", 0)):
        layers = ((name, _LAYER.fullmatch(name.removeprefix(prefix))) for name in names if name.startswith(prefix))
        ours = {f"{int(hit[1]) + shift}.{hit[2]}": name for name, hit in layers if hit}
        if FIRST[half] in ours and BLOCK[half] in ours:
            return ours
    return {}


def tiny_sizes(header: Header, half: Half) -> tuple[int, int]:
    """(channels of the latent, width) of a half that is there.

    Raises:
        ModelError: it is for latents that no checkpoint here has, or it is not whole.
    """
    names = tiny_names(header.tensors, half)
    shapes = [header.shape(names[end]) if end in names else None for end in (FIRST[half], LAST[half])]
    ends = [shape for shape in shapes if shape is not None and len(shape) == 4]
    if len(ends) < 2:
        raise ModelError(f"The {half} is not whole.", "Download the file again.")
    (width, inwards), outwards = ends[0][:2], ends[1][0]
    channels = inwards if half == "decoder" else outwards
    if channels != SD15.vae.z_channels:
        raise ModelError(f"It is for latents of {channels} channels, those here have 4.", _DOWNLOAD)
    return channels, width


def _rough(path: Path) -> ModelError:
    return ModelError(f"{path.name} is A1111's own small network for previews, which is not read here.", _DOWNLOAD)
