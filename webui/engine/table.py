"""What does each kind of work in a job: the executor, with the hooks of extensions; each call timed and told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from webui.engine.delivery import Delivery
from webui.engine.executor import Executor
from webui.engine.preview import Previewer
from webui.engine.progress import Tracker, call_name
from webui.engine.telling import Telling
from webui.ext.session import Session
from webui.pipeline.work import DecodeLatent, Denoise, EndSampling, OpenPass
from webui.schema.events import Preview

Execute = Callable[[Sequence[Any]], Sequence[Any]]
STAGES = {
    "DecodeLatent": "decoding",
    "EncodeImage": "encoding the picture",
    "EstimateDepth": "estimating the depth",
}


def work_table(
    executor: Callable[[], Executor],
    session: Session | None,
    delivery: Delivery,
    tracker: Tracker,
    previewer: Previewer,
    telling: Telling,
) -> dict[type, Execute]:
    """For each kind of work of a job but the change of the model, what does it. executor: of the one that draws now."""
    plain = {kind: forwarded(kind, executor) for kind in executor().table}
    if session is not None:
        plain |= hooked(session, delivery, plain[DecodeLatent])
    table = {kind: watched(kind.__name__, call, telling) for kind, call in plain.items()}
    return {**table, Denoise: shown(table[Denoise], tracker, previewer, telling)}


def forwarded(kind: type, executor: Callable[[], Executor]) -> Execute:
    """The work of a kind, by whichever model draws when it comes."""
    return lambda items: executor().table[kind](items)


def hooked(session: Session, delivery: Delivery, decode: Execute) -> dict[type, Execute]:
    """The work that extensions take part in."""
    return {
        OpenPass: lambda items: [session.open(item.info, item.start, item.guidance) for item in items],
        EndSampling: lambda items: [session.end(item.scope, item.latent, item.whole) for item in items],
        DecodeLatent: lambda items: delivery.hooked(items, decode(items)),
    }


def watched(kind: str, call: Execute, telling: Telling) -> Execute:
    """A call under the supervisor's clock; the user is told of what may take long."""

    def run(items: Sequence[Any]) -> Sequence[Any]:
        if kind in STAGES:
            telling.stage(STAGES[kind])
        return telling.timed(call_name(items), lambda: call(items))

    return run


def shown(denoise: Execute, tracker: Tracker, previewer: Previewer, telling: Telling) -> Execute:
    """Denoising, with progress after every call and a preview now and then."""

    def run(items: Sequence[Any]) -> Sequence[Any]:
        answers = denoise(items)
        telling.event(tracker.after(telling.job_id, items[0]))
        if previewer.due:
            jpeg, width, height = previewer.draw([answer.denoised for _, answer in answers])
            telling.event(Preview(job_id=telling.job_id, image=tracker.image, width=width, height=height), jpeg)
        return answers

    return run
