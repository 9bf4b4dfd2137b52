"""What every command of the command line shares."""

from __future__ import annotations

import argparse
from typing import NoReturn

PROGRAM = "launch.py"
USER_FAULT = 2
"""Exit code: what was asked for is wrong."""


class Parser(argparse.ArgumentParser):
    """Tells a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(USER_FAULT, f"{self.prog}: {message} (--help lists the options)\n")
