"""What `open_pass(p)` is given: one sampling pass of one picture, and all that an extension may add to it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import torch
from torch import Tensor, nn

from webui.control.adapters import Residuals
from webui.control.copies import Lent, copied
from webui.control.lone import LoneUnit
from webui.control.units import Unit
from webui.diffusion.denoiser import Cond, Guidance
from webui.ext.conds import LentConds, with_concat_of
from webui.ext.contexts import JobContext, kept
from webui.nn.config import ModelConfig
from webui.nn.taps import Controls, KeysValues, ReplacedAttention, Taps, with_inputs
from webui.nn.unet import UNet

if TYPE_CHECKING:
    from webui.ext.scope import Scope
    from webui.ext.steps import UnetContext

PassKind = Literal["base", "hires", "img2img", "inpaint"]
M = TypeVar("M", bound=nn.Module)
S = TypeVar("S")
T = TypeVar("T")
AddControl = Callable[["UnetContext"], "Residuals | Controls | None"]
AddKeysValues = Callable[["UnetContext"], "KeysValues | None"]


@dataclass(frozen=True)
class PassInfo:
    """One sampling pass. index: of the job's pictures, from 0; part: 0, and 1 for the hires pass.

    width, height: in pixels; shape: of the latent (c h w); steps: solver steps; sigmas: (steps + 1,), descending. crop:
    (left, top, right, bottom) of the part of the first picture that an inpainting draws alone, in its pixels. prompt,
    negative_prompt: those of this pass, with the choices in those of the job made.
    """

    kind: PassKind
    part: int
    index: int
    width: int
    height: int
    shape: tuple[int, int, int]
    steps: int
    sigmas: tuple[float, ...]
    crop: tuple[int, int, int, int] | None = None
    prompt: str = ""
    negative_prompt: str = ""


@dataclass(frozen=True)
class Start:
    """What a pass starts from. noise: unit normal (c h w); latent: what it is added to (c h w), or None for nothing."""

    noise: Tensor
    latent: Tensor | None = None


class Tools(Protocol):
    """What a loaded model can do for a pass. unet: called with (x, timesteps, context, y, controls, taps)."""

    @property
    def config(self) -> ModelConfig: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def unet(self) -> UNet: ...

    @property
    def inputs(self) -> Mapping[str, Callable[[Tensor], Tensor]]:
        """What stands on the inputs of projections in every call (`Taps.inputs`), as hypernetworks do."""

    def run(self, call: Callable[[], Tensor]) -> Tensor:
        """call(), which calls the U-Net: its weights may have to come to the device first."""

    def encode(self, prompt: str, negative_prompt: str, width: int, height: int) -> tuple[Cond, Cond]:
        """The conds of a prompt and its negative, of equal length."""

    def encode_image(self, image: Tensor) -> Tensor:
        """(3 8h 8w) in -1..1 -> latent (c h w)."""

    def decode(self, latent: Tensor) -> Tensor:
        """(c h w) -> (3 8h 8w) in 0..1."""


class PassContext:
    """`open_pass(p)` and `after_sampling(p)`. What is added here ends with the pass.

    kind, part, index, width, height, shape, steps, sigmas, crop, prompt, negative_prompt: see `PassInfo`. job, params:
    as in `prepare_job`. latent: where the pass starts from; in `after_sampling`, what it came to (return another one to
    replace it).
    """

    def __init__(self, scope: Scope, job: JobContext, stack: contextlib.ExitStack) -> None:
        self.job = job
        self.params = job.params
        self.info = scope.info
        self.kind = scope.info.kind
        self.part = scope.info.part
        self.index = scope.info.index
        self.width, self.height = scope.info.width, scope.info.height
        self.shape = scope.info.shape
        self.steps = scope.info.steps
        self.sigmas = scope.info.sigmas
        self.crop = scope.info.crop
        self.prompt, self.negative_prompt = scope.info.prompt, scope.info.negative_prompt
        self.device = scope.tools.device
        self.config = scope.tools.config
        self._scope = scope
        self._stack = stack
        self._lent, self._conds = Lent(), LentConds()

    # what the pass starts from

    @property
    def noise(self) -> Tensor:
        """Unit normal noise (c h w) of the picture's seed; may be replaced in `open_pass`."""
        return self._lent.read("noise", self._scope.start.noise)

    @noise.setter
    def noise(self, value: Tensor) -> None:
        self._scope.start = Start(alike("noise", value, self.shape), self._scope.start.latent)

    @property
    def latent(self) -> Tensor | None:
        """The latent (c h w) that noise is added to, None in txt2img; may be replaced in `open_pass`."""
        return self._lent.read("latent", self._scope.start.latent)

    @latent.setter
    def latent(self, value: Tensor) -> None:
        self._scope.start = Start(self._scope.start.noise, alike("latent", value, self.shape))

    @property
    def guidance(self) -> Guidance:
        """Conds with weights, uncond, CFG scale; may be replaced in `open_pass` (see `encode`): a cond without
        `concat` gets the further channels that an inpainting or an edit model reads."""
        return self._conds.lend(self._scope.guidance)

    @guidance.setter
    def guidance(self, value: Guidance) -> None:
        self._scope.guidance = with_concat_of(self._conds.take(value), self._scope.opened)

    @property
    def units(self) -> tuple[Unit | LoneUnit, ...]:
        """The control units of this pass that use a preprocessor of this extension: their settings, map and region."""
        own = self.job.preprocessors
        given = [unit for unit in self._scope.given_units if unit.settings.preprocessor in own]
        return tuple(self._lent.read(f"unit {unit.number}", unit, lambda one: one.lent()) for unit in given)

    @property
    def attentions(self) -> tuple[str, ...]:
        """Names of all attentions of the U-Net, for `replace_attn` and `add_kv`: encoder, middle, decoder."""
        return self._scope.tools.unet.tap_names.attentions

    # what is added to the U-Net

    def add_control(self, fn: AddControl) -> None:
        """fn(c) -> Residuals for the rows of one call, or None; all of them are summed."""
        self._scope.controls.append((self.job.owner, fn))

    def add_kv(self, layer: str, fn: KeysValues | AddKeysValues) -> None:
        """Further keys and values of an attention, or fn(c) -> KeysValues or None for the rows of each call."""
        self._scope.keys_values.append((self.job.owner, layer, fn))

    def tap_block(self, layer: str, fn: Callable[[Tensor], Tensor]) -> None:
        """fn(h (b c h w)) -> what stands in the place of a layer's output; several are applied one after another."""
        self._scope.add_tap("tap_block", self._scope.blocks, self.job.owner, layer, fn)

    def tap_linear(self, projection: str, fn: Callable[[Tensor], Tensor]) -> None:
        """fn(x (b n c)) -> what is added to the input of a projection ("....attn1.to_q"); several are summed."""
        self._scope.add_tap("tap_linear", self._scope.inputs, self.job.owner, projection, fn)

    def replace_attn(self, layers: str | Iterable[str], fn: ReplacedAttention) -> None:
        """fn(attend, x (b n c), context (b m d)) -> (b n c), in the place of these attentions.

        Raises:
            ExtensionError: another extension replaces one of them already; both are named.
        """
        for layer in [layers] if isinstance(layers, str) else layers:
            self._scope.claim_attention(self.job.owner, layer, fn)

    def patch_weights(self, deltas: Mapping[str, Tensor]) -> None:
        """Add these to the U-Net's weights, by name, for this pass alone: the model itself is not touched."""
        self._scope.patch(self.job.owner, deltas)

    @property
    def call(self) -> UnetContext:
        """The U-Net call that runs now, for taps that must know its rows. Raises RuntimeError outside of one."""
        return self._scope.current(self.job.owner)

    # tools

    def encode(self, prompt: str, negative_prompt: str = "") -> tuple[Cond, Cond]:
        """The conds of a prompt and its negative, for `p.guidance`."""
        cond, uncond = self._scope.tools.encode(prompt, negative_prompt, self.width, self.height)
        return copied(cond), copied(uncond)  # encoded texts are kept for later pictures

    def encode_image(self, image: Tensor) -> Tensor:
        """(3 8h 8w) in -1..1 -> latent (c h w), the posterior's mean."""
        return self._scope.tools.encode_image(image)

    def decode(self, latent: Tensor) -> Tensor:
        """(c h w) -> (3 8h 8w) in 0..1."""
        return self._scope.tools.decode(latent)

    def run_unet(
        self, x: Tensor, timesteps: Tensor, context: Tensor, y: Tensor | None = None, taps: Taps | None = None
    ) -> Tensor:
        """A call of the U-Net beside those of the sampler: (b c h w), (b,), (b n d), (b adm) -> (b out h w)."""
        tools = self._scope.tools
        return tools.run(lambda: tools.unet(x, timesteps, context, y, None, with_inputs(taps, tools.inputs)))

    # state and clean-up

    def state(self, kind: Callable[[], S]) -> S:
        """This extension's object of this class for this pass of this picture, made when it is first asked for."""
        return kept(self._scope.states, (self.job.owner, kind), kind)

    def defer(self, fn: Callable[[], Any]) -> None:
        """Call this when the pass ends, however it ends."""
        self._stack.callback(fn)

    def enter(self, manager: contextlib.AbstractContextManager[T]) -> T:
        """Enter a context manager; it is left when the pass ends."""
        return self._stack.enter_context(manager)

    def gpu(self, module: M) -> M:
        """A module on the device of the pass until the pass ends, then back where it was."""
        home = next((parameter.device for parameter in module.parameters()), self.device)
        self._stack.callback(module.to, home)
        return module.to(self.device)

    def stop(self) -> None:
        """End this picture's sampling after the present call; what was reached is decoded."""
        self._scope.stopped = True


def alike(what: str, value: Any, shape: Iterable[int]) -> Tensor:
    """A copy of the tensor, which must have this shape. Raises ValueError."""
    if not isinstance(value, Tensor):
        raise ValueError(f"{what} must be a tensor, not {type(value).__name__}")
    if tuple(value.shape) != tuple(shape):
        raise ValueError(f"{what} has the shape {tuple(value.shape)} in the place of {tuple(shape)}")
    return value.clone()
