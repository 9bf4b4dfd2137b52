#!/usr/bin/env python3
"""A tunnel program for tests. It does what the name of the tunnel server (`--server_addr NAME:PORT`) says."""

import os
import signal
import sys
import time


def main() -> None:
    wish = sys.argv[sys.argv.index("--server_addr") + 1].partition(":")[0]
    if wish == "exits":
        print("dial tcp: no route to host", flush=True)
        sys.exit(5)
    if wish == "refuses":
        print("[W] login to server failed: token in login doesn't match", flush=True)
        time.sleep(60)
    if wish == "silent":
        time.sleep(60)
    print("[I] start proxy success: http://abcdef.gradio.live", flush=True)
    if wish == "moves":
        print("[I] start proxy success: http://ghijkl.gradio.live", flush=True)
    if wish == "falls":
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


main()
