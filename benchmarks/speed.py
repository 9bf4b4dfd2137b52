"""Time per step and peak memory, beside diffusers in the same run: `python -m benchmarks.speed --help`.

Both programs are held in processes of their own and take turns, a step each, so that whatever else the machine does
meets both. A step is one U-Net call for the rows of one picture (cond and uncond).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, Self

import torch

from benchmarks.cases import CASES, PROGRAMS, Case, toybox_file

SIZES = {"toybox": 128, "sd15": 512, "sdxl": 1024}
PARAMETERS = {"toybox": 1e7, "sd15": 8.6e8, "sdxl": 2.57e9}
MIB = 2**20


@dataclass(frozen=True)
class Result:
    """Of one program: seconds of each step; bytes it held before its first step, and the most during them."""

    seconds: list[float]
    idle: int
    peak: int

    @property
    def work(self) -> int:
        """Bytes that a step takes beside the weights and the program itself."""
        return self.peak - self.idle


class Worker:
    """A program that waits for its turn."""

    def __init__(self, program: str, case: Case) -> None:
        command = [sys.executable, "-m", "benchmarks.worker", program, json.dumps(asdict(case))]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, wish: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": wish}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the measured program ended; its message stands above")
        return dict(json.loads(line))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()


def measure(case: Case, repeats: int) -> dict[str, Result]:
    """Both programs on one case: a step each to warm up, then turns in changing order."""
    with Worker(PROGRAMS[0], case) as first, Worker(PROGRAMS[1], case) as second:
        workers = dict(zip(PROGRAMS, (first, second), strict=True))
        for worker in workers.values():
            worker.ask("step")
        seconds: dict[str, list[float]] = {program: [] for program in PROGRAMS}
        for turn in range(repeats):
            for program in PROGRAMS if turn % 2 == 0 else PROGRAMS[::-1]:
                seconds[program].append(workers[program].ask("step")["seconds"])
        memory = {program: worker.ask("memory") for program, worker in workers.items()}
    return {program: Result(seconds[program], **memory[program]) for program in PROGRAMS}


def rows_of(case: Case, results: dict[str, Result]) -> list[str]:
    """Lines of the table: each program, then the ratio of ours to theirs."""
    what = f"{case.name} {case.size}x{case.size} {case.dtype} {case.device}"
    lines = []
    for program, result in results.items():
        low, high = min(result.seconds), max(result.seconds)
        step = f"{median(result.seconds):.4g} s ({low:.4g} to {high:.4g})"
        lines.append(f"| {what} | {program} | {step} | {result.peak / MIB:.0f} MiB | {result.work / MIB:.0f} MiB |")
    our, their = (results[program] for program in PROGRAMS)
    usual, least = median(our.seconds) / median(their.seconds), min(our.seconds) / min(their.seconds)
    peak, work = our.peak / their.peak, our.work / their.work
    ratios = f"**{usual:.2f}** ({least:.2f} of the least) | **{peak:.2f}** | **{work:.2f}**"
    return [*lines, f"| {what} | **ratio** | {ratios} |"]


def check_memory(case: Case) -> None:
    """Refuse what would drive the machine into swapping: both programs hold their weights at once."""
    if case.device != "cpu" or not Path("/proc/meminfo").is_file():
        return
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    needed = 2.5 * PARAMETERS[case.name] * getattr(torch, case.dtype).itemsize
    if needed > free:
        raise SystemExit(
            f"{case.name} in {case.dtype} needs some {needed / MIB:.0f} MiB for both programs; {free / MIB:.0f} MiB "
            "are free. Use --dtype bfloat16, or another --case."
        )


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__.splitlines()[0])
    parser.add_argument("--case", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--size", type=int, help="side of the picture in pixels (default: the model's own)")
    parser.add_argument("--rows", type=int, default=2, help="rows of one U-Net call (default 2: cond and uncond)")
    parser.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="float32")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads of each program")
    parser.add_argument("--repeats", type=int, default=5, help="steps of each program after the first")
    parser.add_argument("--channels-last", action="store_true", help="lay out both programs' weights channels last")
    parser.add_argument("--models-dir", default="models", help="where Toybox lies")
    return parser.parse_args(arguments)


def main() -> None:
    chosen = options()
    out = sys.stdout.write
    out("| case | program | step: median (least to most) | peak memory | of it for the step |\n")
    out("| --- | --- | --- | --- | --- |\n")
    for name in chosen.case:
        if name == "toybox" and not toybox_file(Path(chosen.models_dir)).is_file():
            out(f"| toybox | not measured: there is no {toybox_file(Path(chosen.models_dir))} | | | |\n")
            continue
        size = chosen.size or SIZES[name]
        case = Case(
            name, size, chosen.rows, chosen.dtype, chosen.device, chosen.threads, chosen.channels_last,
            chosen.models_dir,
        )  # fmt: skip
        check_memory(case)
        out("\n".join(rows_of(case, measure(case, chosen.repeats))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
