"""A test kit for authors of extensions: a tiny U-Net on the CPU, one pass, one map, and the leak guard.

>>> with loaded("extensions/soft") as extension:                                        # doctest: +SKIP
...     pixels = run_preprocessor(extension, "soft_edges", image, radius=3)
...     latent = run_pass(extension, seed=1)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from webui.control.adapters import Map
from webui.control.geometry import Pixels
from webui.diffusion.denoiser import Cond, Guidance
from webui.diffusion.noise import NoiseSource
from webui.diffusion.samplers import SAMPLERS
from webui.diffusion.schedules import SCHEDULES, NoiseSchedule, visited_sigmas
from webui.diffusion.types import Eval
from webui.ext.contexts import JobData
from webui.ext.discover import discover
from webui.ext.guard import ModelPrint, ProcessPrint
from webui.ext.host import Host
from webui.ext.manifest import read_manifest
from webui.ext.maps import PreprocessContext, make_map
from webui.ext.params import values_of
from webui.ext.passes import PassInfo, Start
from webui.ext.sampling import denoise_scoped
from webui.ext.scope import Scope
from webui.ext.session import Session
from webui.ext.state import Choice, Choices
from webui.nn.config import SD15, ModelConfig
from webui.nn.unet import UNet
from webui.schema.requests import Txt2Img

CHANNELS = 32
TOKENS = 77


class Loaded:
    """An extension that runs, by itself. notes: what it told the user."""

    def __init__(self, host: Host, id: str) -> None:
        self.host = host
        self.id = id
        self.notes: list[str] = []


class TinyModel:
    """`webui.ext.passes.Tools` on the CPU: a U-Net of two levels and 32 channels with random weights of a seed."""

    def __init__(self, seed: int = 0) -> None:
        unet = replace(
            SD15.unet, model_channels=CHANNELS, channel_mult=(1, 2), num_res_blocks=1, transformer_depth=(0, 1),
            transformer_depth_middle=1, context_dim=16, norm_groups=8, num_heads=2, head_dim=None,
        )  # fmt: skip
        self.config: ModelConfig = replace(SD15, unet=unet, native_size=64)
        self.device = torch.device("cpu")
        self.inputs: Mapping[str, Callable[[Tensor], Tensor]] = {}
        self.unet = random_unet(self.config, seed)

    def run(self, call: Callable[[], Tensor]) -> Tensor:
        """The U-Net is always at hand."""
        return call()

    def encode(self, prompt: str, negative_prompt: str, width: int, height: int) -> tuple[Cond, Cond]:
        """Random texts, the same for the same words."""
        return text_of(prompt), text_of(negative_prompt)

    def encode_image(self, image: Tensor) -> Tensor:
        """(3 8h 8w) -> (4 h w): means of squares, and a channel of zeros."""
        small = torch.nn.functional.avg_pool2d(image[None], 8)[0]
        return torch.cat([small, torch.zeros_like(small[:1])])

    def decode(self, latent: Tensor) -> Tensor:
        """(4 h w) -> (3 8h 8w)."""
        return (latent[:3].repeat_interleave(8, 1).repeat_interleave(8, 2) / 2 + 0.5).clamp(0, 1)


@contextmanager
def loaded(folder: str | Path, settings: Mapping[str, Any] | None = None) -> Iterator[Loaded]:
    """The extension in a folder, allowed and active for as long as the block lasts.

    Raises:
        ManifestError, ExtensionError: it cannot be used, and why.
    """
    home = Path(folder).resolve()
    id = read_manifest(home).id
    found = [one for one in discover([home.parent], Choices(extensions={id: Choice(allowed=True)})) if one.id == id]
    host = Host(found, {id: dict(settings or {})})
    try:
        host.activate(id)
        yield Loaded(host, id)
    finally:
        host.close()


def run_preprocessor(extension: Loaded, id: str, image: Pixels | Image.Image, seed: int = 0, **params: Any) -> Map:
    """The map that a preprocessor makes of a picture (h w 3), uint8, as the engine would have it made.

    Raises:
        BadRequest: a parameter is not declared, or out of its bounds. BadMap, ExtensionError: what the code does wrong.
    """
    pixels = np.asarray(image.convert("RGB") if isinstance(image, Image.Image) else image, np.uint8)
    spec, function = extension.host.preprocessor(id)
    kept: dict[str, Any] = {}

    def load(key: str, make: Any) -> Any:
        return kept[key] if key in kept else kept.setdefault(key, make())

    def other(other_id: str, other_image: Pixels, **given: Any) -> Map:
        return run_preprocessor(extension, other_id, other_image, seed, **given)

    def model(name: str) -> Path:
        raise FileNotFoundError(f"a test has no model {name!r}")

    context = PreprocessContext(np.random.default_rng(seed), None, "cpu", model, load, lambda: None, other)
    return make_map(function, pixels, values_of(spec.params, params), context)


def run_pass(
    extension: Loaded | None = None,
    model: TinyModel | None = None,
    *,
    width: int = 64,
    height: int = 64,
    steps: int = 4,
    seed: int = 0,
    params: Mapping[str, Any] | None = None,
    prompt: str = "",
) -> Tensor:
    """One txt2img pass on the tiny model through all hooks of the extension: the final latent (c h w).

    Without an extension: the same pass as it is without any. params: the values of its own fields.
    """
    model = model or TinyModel()
    ext = {extension.id: dict(params or {})} if extension is not None else {}
    fields = {"prompt": prompt, "seed": seed, "steps": steps, "width": width, "height": height, "ext": ext}
    request = Txt2Img.model_validate({**fields, "sampler": "Euler"})
    notes = extension.notes.append if extension is not None else lambda text: None
    host = extension.host if extension is not None else Host([])
    session = Session(host, JobData("test", request, {}, notes, lambda: False))
    error: Exception | None = None
    try:
        with torch.inference_mode():
            session.prepare()
            session.begin(model)
            return _sampled(session, model, request.seed, request.prompt, request.steps, (width, height))
    except Exception as fault:
        error = fault
        raise
    finally:
        failures = session.close()
        session.done(error)
        if failures and error is None:
            raise failures[0]


@contextmanager
def assert_no_leak(model: TinyModel) -> Iterator[None]:
    """Fail with an AssertionError when the block leaves the model or the process changed; the process is put back."""
    modules = {"unet": model.unet}
    process, before = ProcessPrint.now(), ModelPrint.of(modules)
    yield
    leaks = [leak.what for leak in process.heal()] + before.changes(modules)
    if leaks:
        raise AssertionError("; ".join(leaks))


def _sampled(session: Session, model: TinyModel, seed: int, prompt: str, steps: int, size: tuple[int, int]) -> Tensor:
    schedule, source = NoiseSchedule(model.config.schedule), NoiseSource(seed)
    sigmas = visited_sigmas(schedule, SCHEDULES["Normal"], steps)
    shape = model.config.vae.z_channels, -(-size[1] // 8), -(-size[0] // 8)
    cond, uncond = model.encode(prompt, "", *size)
    info = PassInfo("base", 0, 0, *size, shape, steps, tuple(sigmas.tolist()), prompt=prompt)
    scope = session.open(info, Start(source.initial(shape)), Guidance(((cond, 1.0),), uncond, 7.0))
    assert scope is not None
    sampler = SAMPLERS["Euler"]
    start = sampler.initial_x(scope.start.noise, float(sigmas[0]))
    running = sampler.run(start, sigmas.tolist(), source.draws(start))
    try:
        wish = next(running)
        while True:
            (found,) = denoise_scoped([_Wanted(wish, scope, steps)], model, schedule, "epsilon")
            wish = running.send(found)
    except StopIteration as end:
        return session.end(scope, end.value)


class _Wanted:
    """One evaluation of the pass."""

    def __init__(self, wish: Eval, scope: Scope, steps: int) -> None:
        self.eval = wish
        self.guidance = scope.guidance
        self.steps = steps
        self.scope: Scope | None = scope


def text_of(words: str) -> Cond:
    """(n d) random numbers of these words."""
    generator = torch.Generator().manual_seed(sum(words.encode()) + 1)
    return Cond(torch.randn(TOKENS, 16, generator=generator))


def random_unet(config: ModelConfig, seed: int) -> UNet:
    """A U-Net none of whose weights is zero, so that everything in it has an effect."""
    unet, generator = UNet(config.unet), torch.Generator().manual_seed(seed)
    for name, weight in unet.named_parameters():
        drawn = torch.randn(weight.shape, generator=generator)
        if weight.ndim < 2:
            drawn = 1 + 0.1 * drawn if name.endswith("weight") else 0.1 * drawn
        else:
            drawn = drawn / weight[0].numel() ** 0.5
        weight.data.copy_(drawn)
    return unet.requires_grad_(False).eval()
