"""One program in a process of its own, so that its memory is its own. Answers JSON lines on its standard input.

{"do": "step"} -> {"seconds"}; {"do": "memory"} -> {"idle", "peak"} in bytes; {"do": "end"}.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.cases import Case, step_of

CLEAR_PEAK = "5"


class Memory:
    """Bytes in use when it was made, and the most since then: of the GPU, or of this process (Linux)."""

    def __init__(self, device: str) -> None:
        self._cuda = device.startswith("cuda")
        if self._cuda:
            torch.cuda.reset_peak_memory_stats()
        else:
            Path("/proc/self/clear_refs").write_text(CLEAR_PEAK)
        self.idle = torch.cuda.memory_allocated() if self._cuda else _own("VmRSS:")

    def peak(self) -> int:
        return torch.cuda.max_memory_allocated() if self._cuda else _own("VmHWM:")


def _own(label: str) -> int:
    """A line of this process's status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(label))


def timed(call: Callable[[], Any], device: str) -> float:
    """Seconds of one call, with whatever a GPU still has to do."""
    begun = time.perf_counter()
    with torch.inference_mode():
        call()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def main() -> None:
    program, case = sys.argv[1], Case(**json.loads(sys.argv[2]))
    torch.set_num_threads(case.threads)
    call = step_of(program, case)
    memory = Memory(case.device)
    for line in sys.stdin:
        wish = json.loads(line)["do"]
        if wish == "end":
            return
        if wish == "step":
            answer: dict[str, float] = {"seconds": timed(call, case.device)}
        else:
            answer = {"idle": memory.idle, "peak": memory.peak()}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
