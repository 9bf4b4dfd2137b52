"""The server with a fake engine whose steps take long enough to be looked at: python -m tests.browser.serve OPTIONS."""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from tests.fake_engine import FakeEngine, FakeModels
from webui import cli
from webui.engine.interface import Answered
from webui.schema.asks import Answer, What
from webui.schema.requests import Request
from webui.server import serve


class ReportingEngine(FakeEngine):
    """Tells of extensions whose values a job named as if they had run; of a "tired" one that a hook is switched off."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._reports: dict[str, dict[str, Any]] = {}

    def submit(self, job_id: str, request: Request, images: Mapping[str, bytes]) -> None:
        timings = {"after_cfg": {"calls": 4, "seconds": 0.25}, "preprocessor lines": {"calls": 1, "seconds": 2.5}}
        tired = ["job_done"] if "tired" in request.prompt else []
        for id in request.ext:
            report = {"id": id, "state": "active", "load_seconds": 0.125, "hooks": timings, "switched_off": tired}
            self._reports[id] = report
        super().submit(job_id, request, images)

    def ask(self, what: What, body: Mapping[str, Any], images: Mapping[str, bytes]) -> Future[Answered]:
        if what != "report":
            return super().ask(what, body, images)
        future: Future[Answered] = Future()
        future.set_result((Answer(body={"extensions": list(self._reports.values())}), ()))
        return future


def main() -> int:
    engine = functools.partial(ReportingEngine, step_seconds=0.02, restart_seconds=1.0)
    serve.serve = functools.partial(serve.serve, parts=serve.Parts(engine, FakeModels()))
    return cli.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
