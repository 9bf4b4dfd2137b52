"""What extensions and control units add to one sampling pass of one picture, and its guaranteed end.

Nothing is attached to a module: a scope is a bundle of arguments for the calls of its own picture.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

from torch import Tensor
from torch.func import functional_call

from webui.control.contribution import Contribution, summed
from webui.control.lone import LoneUnit
from webui.control.passes import PassUnits
from webui.control.units import Unit
from webui.diffusion.denoiser import Guidance
from webui.ext.contexts import JobContext
from webui.ext.handed import as_controls, chain, check_name, for_rows, own, owned, total
from webui.ext.passes import AddControl, AddKeysValues, PassContext, PassInfo, Start, Tools, alike
from webui.ext.steps import Rows, UnetContext, replaced
from webui.nn.taps import Controls, KeysValues, ReplacedAttention, Taps, with_inputs
from webui.schema.errors import ExtensionError

Function = Callable[..., Any]


class Caller(Protocol):
    """What calls the code of extensions: measured, and named when it fails (`webui.ext.host.Host`)."""

    def call(self, hook: str, owner: str, function: Function, *given: Any, **named: Any) -> Any:
        """Call a hook's function."""

    def running(self, hook: str, owner: str) -> contextlib.AbstractContextManager[bool]:
        """As `call`, for a block of code; it is given whether the code shall run at all."""


@dataclass(frozen=True)
class Hooks:
    """The hooks that take part in one job: name -> (owner, function) in running order."""

    caller: Caller
    table: Mapping[str, Sequence[tuple[str, Function]]]

    def of(self, name: str) -> Sequence[tuple[str, Function]]:
        return self.table.get(name, ())

    def each(self, name: str, context: Callable[[str], Any]) -> Iterator[tuple[str, Any]]:
        """Call every function of a hook with its owner's context, one after another: (owner, answer)."""
        for owner, function in self.of(name):
            yield owner, self.caller.call(name, owner, function, context(owner))

    def fold(self, name: str, value: Tensor, context: Callable[[str, Tensor], Any]) -> Tensor:
        """Let every function of a hook replace a tensor by one of the same shape; None leaves it as it is."""
        for owner, function in self.of(name):
            with self.caller.running(name, owner) as wanted:
                if wanted:
                    value = replaced(f"what {name} returned", function(context(owner, value)), value)
        return value


class Scope:
    """One pass. start and guidance may be changed while it is opened; opened: the guidance it was opened with; stopped:
    end its sampling after this call."""

    def __init__(
        self,
        info: PassInfo,
        start: Start,
        guidance: Guidance,
        tools: Tools,
        hooks: Hooks,
        units: PassUnits | None = None,
    ) -> None:
        self.info = info
        self.start = Start(start.noise.clone(), None if start.latent is None else start.latent.clone())
        self.guidance = self.opened = own(guidance)
        self.tools = tools
        self.hooks = hooks
        self.all_units = units if units is not None else PassUnits([])
        self.units = self.all_units if self.all_units.units else None
        self.stopped = False
        self.step: int | None = None
        self.sigma = 0.0
        self.denoised: Tensor | None = None
        self.states: dict[tuple[Any, ...], Any] = {}
        self.controls: list[tuple[str, AddControl]] = []
        self.keys_values: list[tuple[str, str, KeysValues | AddKeysValues]] = []
        self.blocks: dict[str, list[tuple[str, Function]]] = {}
        self.inputs: dict[str, list[tuple[str, Function]]] = {}
        self.attentions: dict[str, tuple[str, ReplacedAttention]] = {}
        self.contexts: dict[str, PassContext] = {}
        self._patched: dict[str, Tensor] = {}
        self._patchers: list[str] = []
        self._rows: Rows | None = None
        self._open: list[tuple[str, Callable[[], None]]] = []

    @property
    def given_units(self) -> tuple[Unit | LoneUnit, ...]:
        return (*self.all_units.units, *self.all_units.alone)

    # opening and closing

    def open(self, jobs: Mapping[str, JobContext]) -> None:
        """Make the context of every owner and run `open_pass` up to its yield. Who calls this also calls `close`."""
        for owner, job in jobs.items():
            stack = contextlib.ExitStack()
            self.contexts[owner] = PassContext(self, job, stack)
            self._open.append((owner, stack.close))
        for owner, function in self.hooks.of("open_pass"):
            with self.hooks.caller.running("open_pass", owner) as wanted:
                if wanted:
                    generator = function(self.contexts[owner])
                    next(generator)
                    self._open.append((owner, partial(_finish, generator)))

    def close(self) -> list[Exception]:
        """Run what follows the yields, and all that was deferred, in reverse order; all failures, none raised."""
        failures: list[Exception] = []
        while self._open:
            owner, end = self._open.pop()
            try:
                with self.hooks.caller.running("open_pass", owner):
                    end()
            except Exception as error:
                failures.append(error)
        for part in (self.controls, self.keys_values, self.blocks, self.inputs, self.attentions, self._patched):
            part.clear()
        self.all_units, self.units = PassUnits([]), None  # networks may hold weights of a model that is to go
        return failures

    @property
    def is_empty(self) -> bool:
        """Whether nobody has anything to say in this pass, so that it can go the plain way."""
        inside = ("before_step", "before_unet", "after_unet", "combine", "after_cfg", "after_step")
        return not (self.units or self.controls or self.alone or any(self.hooks.of(name) for name in inside))

    # what is added

    def add_tap(
        self, what: str, taps: dict[str, list[tuple[str, Function]]], owner: str, name: str, fn: Function
    ) -> None:
        known = self.tools.unet.tap_names
        check_name(name, known.layers if what == "tap_block" else known.inputs)
        taps.setdefault(name, []).append((owner, fn))

    def claim_attention(self, owner: str, layer: str, fn: ReplacedAttention) -> None:
        """Raises ExtensionError naming both where another extension has it already."""
        check_name(layer, self.tools.unet.tap_names.attentions)
        other = self.attentions.get(layer, (owner, fn))[0]
        if other != owner:
            raise ExtensionError(
                f'The extensions "{other}" and "{owner}" both want to replace {layer}.', "Use one of them at a time."
            )
        self.attentions[layer] = (owner, fn)

    def patch(self, owner: str, deltas: Mapping[str, Tensor]) -> None:
        """Sum weight changes by name. Raises ValueError for names or shapes that the U-Net does not have."""
        self._patchers.append(owner)
        weights = dict(self.tools.unet.named_parameters())
        for name, delta in deltas.items():
            if name not in weights:
                raise ValueError(f"this U-Net has no weight {name!r}")
            weight = self._patched.get(name, weights[name]).to(self.tools.device)
            self._patched[name] = weight + alike(name, delta, weight.shape).to(weight)

    @property
    def adders(self) -> list[str]:
        """Who adds something to the U-Net's calls, in words."""
        units = [f"control unit {unit.number} ({unit.label})" for unit in self.all_units.units]
        owners = [owner for owner, _ in self.controls] + [owner for owner, _, _ in self.keys_values]
        for taps in (self.blocks, self.inputs):
            owners += [owner for own in taps.values() for owner, _ in own]
        owners += [owner for owner, _ in self.attentions.values()] + self._patchers
        return units + [f'the extension "{owner}"' for owner in dict.fromkeys(owners)]

    # calls

    @property
    def alone(self) -> bool:
        """Whether the U-Net must be called for this picture by itself."""
        attends = self.units is not None and self.units.attend
        return bool(attends or self.keys_values or self.blocks or self.inputs or self.attentions or self._patched)

    def current(self, owner: str) -> UnetContext:
        if self._rows is None:
            raise RuntimeError("no U-Net call runs now")
        return UnetContext(self.contexts[owner], self._rows)

    def contribution(self, rows: Rows) -> Contribution:
        """What units and extensions add to these rows, units first."""
        given = self.units.total(rows.unet_rows, rows.answers) if self.units is not None else Contribution()
        added = [given.controls]
        for owner, fn in self.controls:
            with self.hooks.caller.running("add_control", owner):
                answer = fn(UnetContext(self.contexts[owner], rows))
                if answer is not None:
                    added.append(as_controls(answer, len(self.tools.unet.input_blocks)))
        return Contribution(summed(added) if len(added) > 1 else given.controls, given.keys_values)

    def call_unet(self, rows: Rows, controls: Controls | None, extra: Mapping[str, Sequence[KeysValues]]) -> Tensor:
        """The U-Net for this picture alone, with its taps and patched weights: (b out h w)."""
        self._rows = rows
        try:
            given = (rows.x, rows.timesteps, rows.context, rows.y, controls, self._taps(rows, extra))
            if self._patched:
                return self.tools.run(lambda: functional_call(self.tools.unet, self._patched, given))
            return self.tools.run(lambda: self.tools.unet(*given))
        finally:
            self._rows = None

    def _taps(self, rows: Rows, extra: Mapping[str, Sequence[KeysValues]]) -> Taps | None:
        keys_values = {layer: list(given) for layer, given in extra.items()}
        for owner, layer, fn in self.keys_values:
            found: Any = fn
            if not isinstance(fn, KeysValues):
                context = UnetContext(self.contexts[owner], rows)
                found = self.hooks.caller.call("add_kv", owner, fn, context)
            if isinstance(found, KeysValues) and found.watch is not None:
                found = replace(found, watch=owned(self.hooks.caller.call, "add_kv", owner, found.watch))
            if found is not None:
                keys_values.setdefault(layer, []).append(for_rows(found, len(rows.is_cond)))
        call = self.hooks.caller.call
        blocks = {name: chain([owned(call, "tap_block", *tap) for tap in taps]) for name, taps in self.blocks.items()}
        inputs = {name: total([owned(call, "tap_linear", *tap) for tap in taps]) for name, taps in self.inputs.items()}
        attentions = {name: owned(call, "replace_attn", *tap) for name, tap in self.attentions.items()}
        own = Taps(blocks, inputs, keys_values, attentions) if keys_values or blocks or inputs or attentions else None
        return with_inputs(own, self.tools.inputs)


def _finish(generator: Generator[Any, None, None]) -> None:
    """Run what follows the yield, whatever happened to the pass."""
    try:
        next(generator)
    except StopIteration:
        return
    generator.close()
    raise RuntimeError("open_pass yields more than once")
