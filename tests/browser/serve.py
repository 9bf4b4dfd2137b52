"""The server with a fake engine whose steps take long enough to be looked at: python -m tests.browser.serve OPTIONS."""

from __future__ import annotations

import functools
import sys

from tests.fake_engine import FakeEngine, FakeModels
from webui import cli
from webui.server import serve


def main() -> int:
    engine = functools.partial(FakeEngine, step_seconds=0.02, restart_seconds=1.0)
    serve.serve = functools.partial(serve.serve, parts=serve.Parts(engine, FakeModels()))
    return cli.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
