"""A server without a page, in a process that tests kill: `python -m tests.runtime.server FOLDER JOBS [POINT]`.

Prints a line for every job accepted, every picture that a view named and the end, as JSON. POINT: the moment of saving
the first picture at which it kills itself.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.fake_engine import FakeEngine, FakeModels
from webui.images import save
from webui.runtime.outputs import Outputs
from webui.runtime.runtime import Runtime
from webui.runtime.settings import Settings
from webui.schema.requests import Txt2Img


def die(*arguments: Any, **named: Any) -> Any:
    os.kill(os.getpid(), 9)


def after(call: Any) -> Any:
    def called_then_dead(*arguments: Any, **named: Any) -> None:
        call(*arguments, **named)
        die()

    return called_then_dead


def arm(point: str) -> None:
    """Die at this moment of a save."""
    if point == "before writing":
        save.tempfile.mkstemp = after(save.tempfile.mkstemp)
    elif point == "before fsync":
        save.os.fsync = die
    elif point == "before rename":
        save.os.replace = die
    elif point == "after rename":
        save.os.replace = after(save.os.replace)
    elif point == "before the row":
        Outputs.register = die  # type: ignore[method-assign]
    elif point == "after the row":
        Outputs.register = after(Outputs.register)  # type: ignore[method-assign]


def tell(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main() -> None:
    root, count, point = Path(sys.argv[1]), int(sys.argv[2]), "".join(sys.argv[3:])
    folders: dict[str, Any] = {f"{name}_dir": root / name for name in ("models", "output", "data")}
    runtime = Runtime(Settings(**folders), functools.partial(FakeEngine, step_seconds=0.002), FakeModels())
    arm(point)
    ids = [runtime.jobs.submit(Txt2Img(prompt=f"job {i}", steps=2, n_iter=2), "local") for i in range(count)]
    for job_id in ids:
        tell(job=job_id)
    for job_id in ids:
        seen, cursor = 0, None
        while True:
            view = runtime.jobs.wait(job_id, "local", cursor)
            assert view is not None
            for image in view.images[seen:]:
                tell(image=image.id)
            seen, cursor = len(view.images), view.cursor
            if view.finished_for_good:
                break
    tell(end=True)


if __name__ == "__main__":
    main()
