"""The server as a process of its own, with a fake engine: python -m tests.server.start OPTIONS."""

from __future__ import annotations

import functools
import sys

from tests.fake_engine import FakeEngine, FakeModels
from webui import cli
from webui.server import serve


def main() -> int:
    parts = serve.Parts(functools.partial(FakeEngine, step_seconds=0.002), FakeModels())
    serve.serve = functools.partial(serve.serve, parts=parts)
    return cli.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
