"""A checkpoint file -> modules. Weights stay memory-mapped where the device and dtype are the file's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from webui.checkpoints.depth import depth_layout
from webui.checkpoints.expected import unknown_names
from webui.checkpoints.header import Header
from webui.checkpoints.kinds import NAMED
from webui.checkpoints.layouts import UNET, VAE, Layout, Source, text_layouts
from webui.checkpoints.reading import Reader
from webui.checkpoints.source import Checkpoint, open_checkpoint
from webui.checkpoints.support import check_supported
from webui.checkpoints.tokenizers import load_tokenizers
from webui.nn.config import SDXL, ModelConfig
from webui.nn.depth import DepthEstimator, build_depth
from webui.nn.depth_config import DepthConfig
from webui.nn.storage import placed, store_unet
from webui.nn.text import TextEncoder, build_text
from webui.nn.unet import UNet
from webui.nn.vae import VAE as Autoencoder
from webui.prompt.tokenize import Tokenizer
from webui.schema.errors import ModelError
from webui.schema.storage import UnetStorage

ABOUT_KEY = "atelier.about"
PREVIEW_KEY = "atelier.preview"

M = TypeVar("M", bound=nn.Module)
FORMATS: Mapping[UnetStorage, torch.dtype | None] = {
    "file": None,
    "float8_e4m3": torch.float8_e4m3fn,
    "float8_e5m2": torch.float8_e5m2,
}
"""What weights are rounded to; None: only those that are in 8 bits already stay so."""
_AGAIN = "Download the file again, or get another version of it."


@dataclass(frozen=True)
class LoadedModel:
    """A checkpoint in memory. texts and tokenizers are pairs, in the order in which the U-Net reads them.

    about: what the file says of itself; preview_factors: (channels + 1, 3) linear map from latents to colours;
    unknown: tensors of the file that nothing here reads, though files of its family have none of that name. depth: what
    finds the depth that a depth model reads.
    """

    config: ModelConfig
    unet: UNet
    vae: Autoencoder
    texts: tuple[TextEncoder, ...]
    tokenizers: tuple[Tokenizer, ...]
    about: Mapping[str, Any] = field(default_factory=dict)
    preview_factors: Tensor | None = None
    unknown: tuple[str, ...] = ()
    depth: DepthEstimator | None = None


@dataclass(frozen=True)
class Checked:
    """A checkpoint whose headers promise a whole model."""

    source: Checkpoint
    config: ModelConfig
    tokenizers: tuple[Tokenizer, ...]
    layouts: tuple[Layout, ...]

    @property
    def header(self) -> Header:
        """Of all its files together, under the names of an ldm single file."""
        return self.source.header


def check_checkpoint(path: Path) -> Checked:
    """What the headers of a checkpoint tell, none of the weights being read.

    Raises:
        ModelError: it cannot be used, or no pass can use its kind yet; cause and cure.
    """
    checked = read_checkpoint(path)
    check_supported(checked.config)
    return checked


def read_checkpoint(path: Path) -> Checked:
    """The same for every kind that can be loaded, whether passes can use it or not. Raises ModelError."""
    source = open_checkpoint(path)
    config = source.config()
    layouts = text_layouts(source.header.tensors)
    if config.depth is not None and depth_layout(source.header.tensors) is None:
        raise ModelError(f"{path.name} holds no depth estimator, though it says so.", _AGAIN)
    if len(layouts) != len(config.texts):
        raise ModelError(f"{path.name} holds {len(layouts)} of {len(config.texts)} text encoders.", _AGAIN)
    return Checked(source, config, load_tokenizers(source, config), layouts)


def load_checkpoint(
    path: Path,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    unet_storage: UnetStorage = "dtype",
) -> LoadedModel:
    """The models of a checkpoint (a safetensors file or a diffusers folder), ready to be called.

    dtype: what they work in; unet_storage: how the U-Net's weights lie in memory.

    Raises:
        ModelError: it cannot be used; cause and cure.
    """
    checked = read_checkpoint(path)
    header = checked.header
    with Reader(checked.source) as read:

        def fill(module: M, layout: Layout, dtype: torch.dtype = dtype) -> M:
            filled = fill_module(module, layout, header, read, path.name)
            if isinstance(filled, UNet):
                store_as(unet_storage, filled, checked.config.family)
            return placed(filled, device, dtype)

        def estimator(config: DepthConfig) -> DepthEstimator:
            # in half precision the ResNet's standardised weights overflow
            layout = depth_layout(header.tensors)
            assert layout is not None
            return check_finite(fill(_depth(config), layout, torch.float32), "depth estimator", path.name)

        unet, vae, texts = _build(checked.config)
        model = LoadedModel(
            checked.config,
            fill(unet, lambda name: Source(UNET + name)),
            check_finite(fill(vae, lambda name: Source(VAE + name)), "VAE", path.name),
            tuple(
                check_finite(fill(text, layout), "text encoder", path.name)
                for text, layout in zip(texts, checked.layouts, strict=True)
            ),
            checked.tokenizers,
            header.object(ABOUT_KEY),
            _preview_factors(header),
            depth=estimator(checked.config.depth) if checked.config.depth else None,
        )
        return replace(model, unknown=tuple(unknown_names(header.tensors, read.taken)))


def store_as(wish: UnetStorage, unet: UNet, family: str) -> None:
    """Let the weights of a U-Net lie in memory as it is wished; "auto" is for the caller to decide."""
    if wish == "float8-sdxl":
        wish = "float8_e4m3" if family.startswith(SDXL.family) else "file"
    if wish in FORMATS:
        store_unet(unet, FORMATS[wish])


def fill_module(module: M, layout: Layout, header: Header, read: Callable[[str], Tensor], file: str) -> M:
    """Give a module that was built on the meta device its weights.

    layout: the module's names -> where the file has them; read: name in the file -> tensor.

    Raises:
        ModelError: tensors are missing or of another shape; some of them by name.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    sources = {name: layout(name) for name in expected}
    _check_tensors(expected, sources, header, file)
    state = {name: _taken(source, read).reshape(expected[name]) for name, source in sources.items()}
    module.requires_grad_(False).eval().load_state_dict(state, assign=True)
    return module


def _build(config: ModelConfig) -> tuple[UNet, Autoencoder, tuple[TextEncoder, ...]]:
    with torch.device("meta"):  # no memory, no initialisation: the file's tensors take the parameters' places
        return UNet(config.unet), Autoencoder(config.vae), tuple(build_text(text) for text in config.texts)


def _depth(config: DepthConfig) -> DepthEstimator:
    with torch.device("meta"):
        return build_depth(config)


def _check_tensors(
    expected: Mapping[str, tuple[int, ...]], sources: Mapping[str, Source], header: Header, file: str
) -> None:
    missing = sorted(source.name for source in sources.values() if source.name not in header.tensors)
    if missing:
        raise ModelError(f"{file} is not whole: {_some(missing)} missing.", _AGAIN)
    wrong = [
        f"{source.name} is {list(header.tensors[source.name].shape)}, not as {list(expected[name])}"
        for name, source in sources.items()
        if not _alike(source.shape(header.tensors[source.name].shape), expected[name])
    ]
    if wrong:
        raise ModelError(f"{file} does not fit its architecture: {'; '.join(wrong[:NAMED])}.", _AGAIN)


def _alike(given: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    """Whether shapes agree; a 1 x 1 convolution may be written as a matrix, as some conversion programs do."""
    return given == expected or ((*given, 1, 1) == expected and len(given) == 2)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more are" if len(names) > NAMED else " is" if len(names) == 1 else " are"
    return ", ".join(names[:NAMED]) + more


def _taken(source: Source, read: Callable[[str], Tensor]) -> Tensor:
    tensor = read(source.name)
    if source.third is not None:
        tensor = tensor.chunk(3)[source.third]
    return tensor.t().contiguous() if source.transposed else tensor


def check_finite(module: M, what: str, file: str) -> M:
    """The module, when none of its weights is NaN or infinite; a bad merge has such weights."""
    for name, tensor in module.state_dict().items():
        if not torch.isfinite(tensor.sum(dtype=torch.float32)):
            raise ModelError(f"{file} is damaged: the {what} has NaN weights ({name}).", _AGAIN)
    return module


def _preview_factors(header: Header) -> Tensor | None:
    """The linear map from latents to colours, (channels + 1, 3), where the file has a usable one."""
    try:
        factors = torch.tensor(header.json(PREVIEW_KEY), dtype=torch.float32)
    except (ModelError, TypeError, ValueError, RuntimeError):
        return None
    return factors if factors.ndim == 2 and factors.shape[1] == 3 and bool(factors.isfinite().all()) else None
