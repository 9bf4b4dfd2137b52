"""`python leash.py PROGRAM ...` runs a program that lives no longer than its standard input is open.

A public tunnel must not outlive the server, not even one that was killed: the system closes the pipe then.
Run by path, alone, so it imports nothing of ours.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading


def main(command: list[str]) -> int:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def hold() -> None:
        while os.read(0, 1024):  # not sys.stdin: a thread that waits in there would break the end of the interpreter
            pass
        process.kill()

    threading.Thread(target=hold, daemon=True).start()
    code = process.wait()
    return 128 - code if code < 0 else code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
