"""The extensions and control units of one job, from its first hook to its last."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from PIL.Image import Image
from torch import Tensor

from webui.control.passes import PassUnits
from webui.diffusion.denoiser import Guidance
from webui.ext.contexts import JobContext, JobData, PictureContext
from webui.ext.host import Host
from webui.ext.params import values_of
from webui.ext.passes import PassInfo, Start, Tools
from webui.ext.sampling import end_step
from webui.ext.scope import Hooks, Scope
from webui.ext.steps import DecodeContext
from webui.schema.errors import BadRequest
from webui.schema.requests import Request

AROUND = frozenset({"setup", "teardown", "model_changed", "prepare_job", "on_image", "job_done"})
"""Hooks that need no scope."""


class UnitSource(Protocol):
    """The control units of a job."""

    def open(self, info: PassInfo) -> PassUnits:
        """The units made ready for one pass of one picture."""

    def closed(self, info: PassInfo, units: PassUnits) -> None:
        """The pass has ended: what the units did can be told."""


class Session:
    """One job's. `close` must be called whatever happens; it may be called twice."""

    def __init__(self, host: Host, data: JobData) -> None:
        self._host = host
        self._data = data
        self.jobs = {id: self._job_context(id) for id in participants(host, data.request)}
        self._hooks = Hooks(host, self._table())
        self._units: UnitSource | None = None
        self._tools: Tools | None = None
        self._open: list[Scope] = []
        self._last: dict[int, Scope] = {}
        self._times = host.times()

    @staticmethod
    def involves(host: Host, request: Request) -> bool:
        """Whether any extension's code will run in hooks of this job."""
        return bool(participants(host, request))

    def _job_context(self, id: str) -> JobContext:
        manifest = self._host.found(id).manifest
        fields = manifest.fields if manifest is not None else ()
        try:
            params = values_of(fields, self._data.request.ext.get(id, {}))
        except BadRequest as error:
            raise BadRequest(f'Extension "{id}": {error.message}', error.cure) from None
        own = frozenset(spec.id for spec in manifest.preprocessors) if manifest is not None else frozenset()
        return JobContext(id, self._data, params, self._host.settings_of(id), own)

    def _table(self) -> dict[str, list[tuple[str, Callable[..., Any]]]]:
        table: dict[str, list[tuple[str, Callable[..., Any]]]] = {}
        for id in self.jobs:
            active = self._host.activate(id)
            for name in active.manifest.hooks:
                table.setdefault(name, []).append((id, getattr(active.module, name)))
        return table

    @property
    def wants_passes(self) -> bool:
        """Whether sampling passes have to be opened: else they go the plain way."""
        return self._units is not None or any(name not in AROUND for name in self._hooks.table)

    def prepare(self) -> None:
        """`prepare_job` of all; the request may be another one afterwards."""
        for _ in self._hooks.each("prepare_job", self.jobs.__getitem__):
            pass

    def begin(self, tools: Tools, units: UnitSource | None = None) -> None:
        """The model and the units are there: passes may be opened."""
        self._tools, self._units = tools, units

    def open(self, info: PassInfo, start: Start, guidance: Guidance) -> Scope | None:
        """The scope of a pass; None where nobody has anything to say in it."""
        assert self._tools is not None
        units = self._units.open(info) if self._units is not None else None
        scope = Scope(info, start, guidance, self._tools, self._hooks, units)
        self._open.append(scope)
        scope.open(self.jobs)
        self._last[info.index] = scope
        return scope

    def end(self, scope: Scope, latent: Tensor, whole: bool = True) -> Tensor:
        """`after_step` of the last step, `after_sampling`, and the end of the scope: the latent (c h w) to go on with.

        whole: there is no noise left in the latent; else `after_sampling` is not for it.

        Raises:
            AtelierError: a hook, or the clean-up of an extension failed.
        """
        end_step(scope, latent, scope.tools.config.prediction)

        def context(owner: str, value: Tensor) -> Any:
            scope.start = Start(scope.start.noise, value)
            return scope.contexts[owner]

        if whole:
            latent = self._hooks.fold("after_sampling", latent, context)
        self._raise(self._close(scope))
        return latent

    def decoded(self, index: int, image: Tensor) -> tuple[Tensor, list[tuple[str, Tensor]]]:
        """`after_decode` of a picture (3 h w) in 0..1: what it becomes, and further pictures by their owners."""
        scope, extras = self._last.get(index), list[tuple[str, Tensor]]()
        if scope is not None:
            image = self._hooks.fold(
                "after_decode", image, lambda owner, value: DecodeContext(scope.contexts[owner], value, extras)
            )
        return image, extras

    def picture(self, image: Image, index: int, seed: int, infotext: Mapping[str, Any]) -> PictureContext | None:
        """`on_image` of a finished picture: what is to be handed out, or None."""
        given, rank = dict(infotext), None
        for owner, function in self._hooks.of("on_image"):
            context = PictureContext(self.jobs[owner], image.copy(), index, seed, given)
            answer = self._host.call("on_image", owner, function, context)
            image, given = answer if answer is not None else image, context.infotext
            rank = rank if context.rank is None else context.rank
            if context.dropped:
                return None
        made = PictureContext(JobContext("", self._data, {}, {}), image, index, seed, given)
        made.rank = rank
        return made

    def close(self) -> list[Exception]:
        """End every scope that is still open, the last one first; what failed, none of it raised."""
        failures: list[Exception] = []
        while self._open:
            failures += self._close(self._open[-1])
        self._last.clear()
        return failures

    def done(self, error: Exception | None) -> None:
        """`job_done` of all."""
        for owner, function in self._hooks.of("job_done"):
            self._host.call("job_done", owner, function, self.jobs[owner], error)

    def seconds(self) -> dict[str, dict[str, float]]:
        """How long each hook of each extension took in this job."""
        found: dict[str, dict[str, float]] = {}
        for id, times in self._host.times().items():
            before = self._times.get(id, {})
            own = {name: time.since(before[name]) if name in before else time for name, time in times.items()}
            spent = {name: time.seconds for name, time in own.items() if time.calls}
            if spent:
                found[id] = spent
        return found

    def _close(self, scope: Scope) -> list[Exception]:
        self._open.remove(scope)
        if self._units is not None:
            self._units.closed(scope.info, scope.all_units)
        return scope.close()

    def _raise(self, failures: Sequence[Exception]) -> None:
        for failure in failures[1:]:
            self._data.note(str(failure))
        if failures:
            raise failures[0]


def participants(host: Host, request: Request) -> list[str]:
    """Ids of the extensions whose hooks a job calls, in running order.

    One that declares fields or preprocessors takes part where the request has values for it, or a unit uses it; any
    other takes part in every job.

    Raises:
        BadRequest: the request names an extension that does not run.
    """
    if missing := sorted(set(request.ext) - set(host.ready)):
        raise BadRequest(
            f'The extension "{missing[0]}" is wanted for this job, but it does not run here.',
            "Switch it on under Extensions, or take its values out of the request.",
        )
    used = {unit.preprocessor for unit in request.control if unit.enabled}
    found = []
    for id in host.ready:
        manifest = host.found(id).manifest
        if manifest is None or not manifest.hooks:
            continue
        offered = {spec.id for spec in manifest.preprocessors}
        if id in request.ext or used & offered or not (manifest.accordions or offered):
            found.append(id)
    return found


def tell_of_death(host: Host, job_id: str, request: Request, error: Exception) -> None:
    """`job_done` for a job whose process ended before it could be told."""
    Session(host, JobData(job_id, request, {}, host.note, lambda: True)).done(error)
