"""What the hooks inside the sampling loop are given. Tensors are copies: writing into them changes nothing.

Each context makes its copies when they are first read: who reads nothing pays nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from torch import Tensor

from webui.control.adapters import Residuals, UnetRows
from webui.control.copies import Lent, copied
from webui.diffusion.denoiser import Call, Guidance, Prediction, from_denoised, to_denoised
from webui.diffusion.types import Eval
from webui.ext.passes import PassContext, alike
from webui.nn.taps import Controls, KeysValues

S = TypeVar("S")


class StepContext:
    """`before_step(s)`, `combine(s)`, `after_cfg(s)`, `after_step(s)`.

    p: the pass; params, state: as of the pass. step: solver step from 0, of `steps`; sigma: noise level of this call;
    progress: 0..1. x: the noisy latent (c h w), which `before_step` may replace by assigning it. conds: raw outputs of
    the network for each cond (c h w), and uncond (or None), in `combine`. denoised: predicted x0 (c h w), guided.
    """

    def __init__(self, p: PassContext, wish: Eval, guidance: Guidance, prediction: Prediction) -> None:
        self.p = p
        self.params = p.params
        self.step, self.steps = wish.step, p.steps
        self.sigma = wish.sigma
        self.progress = wish.step / max(p.steps, 1) if wish.progress is None else wish.progress
        self.conds: tuple[Tensor, ...] = ()
        self.uncond: Tensor | None = None
        self.denoised: Tensor | None = None
        self._prediction: Prediction = prediction
        self._guidance = guidance
        self._x = wish.x
        self._lent = Lent()

    @property
    def x(self) -> Tensor:
        return self._lent.read("x", self._x)

    @x.setter
    def x(self, value: Tensor) -> None:
        self._x = alike("x", value, self._x.shape).to(self._x)

    @property
    def guidance(self) -> Guidance:
        return self._lent.read("guidance", self._guidance)

    def to_denoised(self, output: Tensor) -> Tensor:
        """Raw output of the network (c h w) -> predicted x0."""
        return to_denoised(self._prediction, output, self._x, self.sigma)

    def from_denoised(self, denoised: Tensor) -> Tensor:
        """Predicted x0 (c h w) -> the output with which the network would say so."""
        return from_denoised(self._prediction, denoised, self._x, self.sigma)

    def state(self, kind: Callable[[], S]) -> S:
        """See `p.state`."""
        return self.p.state(kind)

    def stop(self) -> None:
        """See `p.stop`."""
        self.p.stop()


def latent_of(context: StepContext) -> Tensor:
    """The noisy latent (c h w): what was assigned, else what was given; what was written into the copy is not in it."""
    return context._x


class Rows:
    """The rows of one picture in one U-Net call, as all extensions share them. total: made when it is first wanted.

    answers: of the control networks that were asked for several pictures at once, by the number of the unit.
    """

    def __init__(
        self, call: Call, wish: Eval, guidance: Guidance, steps: int, add: Callable[[Rows], Controls | None]
    ) -> None:
        self.x, self.timesteps, self.context, self.y = call.x, call.timesteps, call.context, call.y
        self.places = call.places
        self.is_cond = tuple(row < len(guidance.conds) for _, row in call.places)
        self.wish = wish
        self.steps = steps
        self.output: Tensor | None = None
        self.keys_values: Mapping[str, Sequence[KeysValues]] = {}
        self.answers: Mapping[int, Residuals] = {}
        self._add = add
        self._total: Controls | None = None
        self._is_added = False

    @property
    def has_total(self) -> bool:
        """Whether the sum of residuals was made, or given, already."""
        return self._is_added

    @property
    def total(self) -> Controls | None:
        """The sum of all residuals for these rows; None where there are none."""
        if not self._is_added:
            self._is_added = True
            self._total = self._add(self)
        return self._total

    @total.setter
    def total(self, value: Controls | None) -> None:
        self._total, self._is_added = value, True

    @property
    def unet_rows(self) -> UnetRows:
        """The rows as control networks see them."""
        x, timesteps, context, y = self.x, self.timesteps, self.context, self.y
        return UnetRows(x, timesteps, context, y, self.is_cond, self.wish.step, self.steps)


class UnetContext:
    """`before_unet(c)`, `after_unet(c)`, and `fn(c)` of `p.add_control` and `p.add_kv`.

    Rows of this picture alone. x: (b c h w), scaled as the U-Net sees it, extra input channels behind; context:
    (b n d); y: (b adm) or None; these three may be replaced in `before_unet` by assigning them. timesteps: (b,).
    is_cond: for each row, whether it is of the prompt. total: the sum of all residuals, made when it is first read:
    replace context before. output: what the U-Net said (b c h w), in `after_unet`, which may return another one.
    """

    def __init__(self, p: PassContext, rows: Rows) -> None:
        self.p = p
        self.params = p.params
        self.is_cond = rows.is_cond
        self.step, self.steps, self.sigma = rows.wish.step, rows.steps, rows.wish.sigma
        self.progress = self.step / max(self.steps, 1) if rows.wish.progress is None else rows.wish.progress
        self._rows = rows
        self._lent = Lent()

    @property
    def x(self) -> Tensor:
        return self._lent.read("x", self._rows.x)

    @x.setter
    def x(self, value: Tensor) -> None:
        self._rows.x = alike("x", value, self._rows.x.shape).to(self._rows.x)

    @property
    def context(self) -> Tensor:
        return self._lent.read("context", self._rows.context)

    @context.setter
    def context(self, value: Tensor) -> None:
        rows, _, width = self._rows.context.shape
        wanted = (rows, value.shape[1] if getattr(value, "ndim", 0) == 3 else 0, width)
        self._rows.context = alike("context", value, wanted).to(self._rows.context)

    @property
    def y(self) -> Tensor | None:
        return self._lent.read("y", self._rows.y)

    @y.setter
    def y(self, value: Tensor) -> None:
        if self._rows.y is None:
            raise ValueError("this model takes no y")
        self._rows.y = alike("y", value, self._rows.y.shape).to(self._rows.y)

    @property
    def timesteps(self) -> Tensor:
        return self._lent.read("timesteps", self._rows.timesteps)

    @property
    def rows(self) -> UnetRows:
        """The rows as control networks see them."""
        return UnetRows(self.x, self.timesteps, self.context, self.y, self.is_cond, self.step, self.steps)

    @property
    def total(self) -> Controls | None:
        return self._lent.read("total", self._rows.total)

    @total.setter
    def total(self, value: Controls | None) -> None:
        self._rows.total = copied(value)

    @property
    def output(self) -> Tensor | None:
        return self._lent.read("output", self._rows.output)

    def state(self, kind: Callable[[], S]) -> S:
        """See `p.state`."""
        return self.p.state(kind)


class DecodeContext:
    """`after_decode(p)`: the pixels of a picture. image: (3 h w) in 0..1; return another one, or None.

    index: of the job's pictures. The sizes may still have the model's padding at the right and at the bottom.
    """

    def __init__(self, p: PassContext, image: Tensor, extras: list[tuple[str, Tensor]]) -> None:
        self.p = p
        self.job = p.job
        self.params = p.params
        self.index = p.index
        self.image = image.clone()
        self._extras = extras

    def add_image(self, image: Tensor) -> None:
        """Hand out a further picture (3 h w) in 0..1 beside this one."""
        self._extras.append((self.p.job.owner, image.clone()))

    def state(self, kind: Callable[[], S]) -> S:
        """See `p.state`."""
        return self.p.state(kind)


def replaced(what: str, answer: Any, old: Tensor) -> Tensor:
    """What a hook returned, None for no change. Raises ValueError for another shape."""
    return old if answer is None else alike(what, answer, old.shape).to(old)
