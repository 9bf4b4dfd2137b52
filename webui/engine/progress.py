"""How far a job is, and what its calls are named."""

from __future__ import annotations

import time
from collections.abc import Sequence

from webui.pipeline.work import DecodeLatent, Denoise, EncodeImage, EndSampling, OpenPass, Work
from webui.schema.events import Progress
from webui.schema.requests import Request


def call_name(items: Sequence[Work]) -> str:
    """What is done, and on which sizes: calls of one name take about as long as each other."""
    first = items[0]
    if isinstance(first, Denoise):
        shape = first.eval.x.shape
    elif isinstance(first, EncodeImage):
        shape = first.image.shape
    elif isinstance(first, DecodeLatent):
        shape = first.latent.shape
    elif isinstance(first, OpenPass):
        shape = first.start.noise.shape
    elif isinstance(first, EndSampling):
        shape = first.latent.shape
    else:
        return type(first).__name__
    return f"{type(first).__name__} {'x'.join(map(str, (len(items), *shape)))}"


class Tracker:
    """How far a job is, in steps and in time."""

    def __init__(self, request: Request) -> None:
        self.step = self.steps = self.image = 0
        self._batches = request.n_iter
        self._batch_size = request.batch_size
        self._batch = 0
        self._started: float | None = None

    def begin(self, batch: int) -> None:
        self._batch = batch
        self.image = batch * self._batch_size
        if self._started is None:
            self._started = time.monotonic()

    def after(self, job_id: str, item: Denoise) -> Progress:
        """The progress once `item` is answered."""
        self.step, self.steps = min(item.eval.step + 1, item.steps), item.steps
        fraction = (self._batch + item.fraction) / self._batches
        elapsed = time.monotonic() - (self._started or 0)
        return Progress(
            job_id=job_id,
            step=self.step,
            steps=self.steps,
            image=self.image,
            images=self._batches * self._batch_size,
            fraction=fraction,
            eta_seconds=elapsed * (1 - fraction) / fraction if fraction > 0 else None,
        )
