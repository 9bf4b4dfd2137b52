"""Which checkpoints stay in the machine's memory, and what a machine says that it has."""

from __future__ import annotations

from pathlib import Path

import pytest

from webui.engine.memory.estimates import Corrections, Work, unet_work, vae_work
from webui.engine.memory.keeping import RESERVE, budget, too_many
from webui.engine.memory.machine import Machine
from webui.nn.config import SD15, SDXL
from webui.nn.out_of_memory import is_out_of_memory
from webui.schema.errors import BadRequest
from webui.schema.memory import GB, MemoryOptions


@pytest.mark.parametrize(("coming", "gone"), [(4, 0), (5, 1), (6, 1), (7, 2), (8, 2), (9, 3), (100, 3)])
def test_the_least_recently_used_go_until_another_one_fits(coming: int, gone: int) -> None:
    assert too_many([2, 2, 2], coming, budget=10) == gone


def test_what_the_machine_has_left_counts_as_well() -> None:
    assert too_many([GB, GB], GB, 100 * GB, free=GB + RESERVE) == 0
    assert too_many([GB, GB], GB, 100 * GB, free=GB + RESERVE - 1) == 1
    assert too_many([GB, GB], GB, 100 * GB, free=0) == 2


def test_without_a_limit_half_of_the_machine_is_the_budget() -> None:
    assert budget(10, None) == 5
    assert budget(10, 3) == 3
    assert budget(None, None) == 0


def machine(tmp_path: Path, **files: str) -> Machine:
    for name, text in {"meminfo": "MemTotal: 1000 kB\nMemAvailable: 600 kB\n", **files}.items():
        place = tmp_path / ("cgroup" if name != "meminfo" else "proc") / name.replace("__", "/").replace("_", ".")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return Machine(tmp_path / "proc", tmp_path / "cgroup")


def test_a_machine_tells_what_it_has(tmp_path: Path) -> None:
    here = machine(tmp_path)
    assert (here.total, here.free) == (1000 * 1024, 600 * 1024)


def test_a_container_may_be_allowed_less(tmp_path: Path) -> None:
    here = machine(
        tmp_path, memory_max=str(500 * 1024), memory_current=str(400 * 1024), memory_stat=f"inactive_file {50 * 1024}\n"
    )
    assert (here.total, here.free) == (500 * 1024, 150 * 1024)


def test_a_container_without_a_limit_has_the_machines(tmp_path: Path) -> None:
    here = machine(tmp_path, memory_max="max", memory_current="5")
    assert (here.total, here.free) == (1000 * 1024, 600 * 1024)


def test_this_machine_has_memory() -> None:
    total, free = Machine().total, Machine().free
    assert total is None or total > 0
    assert free is None or free > 0


def test_estimates_count_numbers_per_pixel() -> None:
    assert unet_work(SD15, 512, 512, 2, 2) == Work("U-Net of sd1", 100 * 320 * 64 * 64 * 2 * 2)
    assert vae_work(SDXL, 1024 * 1024, 4, "decoding") == Work("decoding of sdxl", 6 * 128 * 1024 * 1024 * 4)


def test_what_was_measured_corrects_the_next_estimate_within_bounds() -> None:
    known, work = Corrections(), Work("decoding of sd1", 1000)
    assert known.of(work) == 1000
    known.measured(work, 1500)
    assert known.of(Work("decoding of sd1", 10)) == 15
    assert known.of(Work("decoding of sdxl", 10)) == 10
    known.measured(work, 1)
    assert known.of(work) == 500
    known.measured(work, 10**9)
    assert known.of(work) == 3000
    known.measured(Work("", 5), 50)
    assert known.of(Work("", 5)) == 5


def test_the_options_are_checked_and_go_to_the_child_as_they_are() -> None:
    assert MemoryOptions("med", 6, 0.5).arguments == ["--vram", "med", "--gpu-memory", "6", "--memory", "0.5"]
    assert (MemoryOptions(gpu_gb=6).gpu_bytes, MemoryOptions().gpu_bytes) == (6 * GB, None)
    with pytest.raises(BadRequest, match="memory mode"):
        MemoryOptions("tiny")  # type: ignore[arg-type]
    with pytest.raises(BadRequest, match="less than nothing"):
        MemoryOptions(gpu_gb=-1)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("MPS backend out of memory (MPS allocated: 5 GB)"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_every_word_for_a_full_device_is_known(error: Exception) -> None:
    assert is_out_of_memory(error)
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
