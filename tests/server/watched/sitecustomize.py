"""Python runs this first in a process whose PYTHONPATH names this folder: it writes down every way out of the machine
that is tried, and lets nobody import torch."""

import os
import sys


def note(event, arguments):
    if event == "socket.connect":
        write(repr(arguments[1]))
    elif event == "socket.getaddrinfo":
        write(repr((arguments[0], arguments[1])))


def write(text):
    with open(os.environ["WATCH_LOG"], "a") as log:
        log.write(text + "\n")


class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ImportError("torch is not for the web process")


if "WATCH_LOG" in os.environ:
    sys.addaudithook(note)
    sys.meta_path.insert(0, Blocked())
