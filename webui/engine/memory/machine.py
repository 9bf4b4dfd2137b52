"""How much memory the machine and its devices have, what a container is allowed of it, and what others leave free."""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

_UNLIMITED = 1 << 60


@dataclass(frozen=True)
class Machine:
    """proc, cgroup: where Linux tells of them."""

    proc: Path = Path("/proc")
    cgroup: Path = Path("/sys/fs/cgroup")

    @property
    def total(self) -> int | None:
        """Bytes that this process may use; None where nothing tells."""
        known = [one for one in (self._meminfo("MemTotal") or _pages(), self._limit) if one is not None]
        return min(known) if known else None

    @property
    def free(self) -> int | None:
        """Bytes that are not in use, files that are kept in memory counting as free."""
        known = [one for one in (self._meminfo("MemAvailable"), self._left) if one is not None]
        return max(0, min(known)) if known else None

    def _meminfo(self, name: str) -> int | None:
        for line in _text(self.proc / "meminfo").splitlines():
            label, _, value = line.partition(":")
            if label == name:
                return int(value.split()[0]) * 1024
        return None

    @property
    def _limit(self) -> int | None:
        """Of the container: cgroup 2, then cgroup 1."""
        for file in ("memory.max", "memory/memory.limit_in_bytes"):
            text = _text(self.cgroup / file).strip()
            if text.isdigit() and int(text) < _UNLIMITED:
                return int(text)
        return None

    @property
    def _left(self) -> int | None:
        """Of what the container is allowed."""
        limit = self._limit
        if limit is None:
            return None
        used = _text(self.cgroup / "memory.current") or _text(self.cgroup / "memory" / "memory.usage_in_bytes")
        stat = _text(self.cgroup / "memory.stat") or _text(self.cgroup / "memory" / "memory.stat")
        files = sum(int(line.split()[1]) for line in stat.splitlines() if line.startswith("inactive_file "))
        return limit - int(used or 0) + files


def process_bytes(proc: Path = Path("/proc")) -> int | None:
    """What this process holds of the machine's memory, files that it maps included; None where nothing tells."""
    fields = _text(proc / "self" / "statm").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") if fields else None


def give_back(device: torch.device) -> None:
    """Hand memory that is kept for later back to the device and to the system."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)  # glibc keeps freed weights in its arenas


def device_room(device: torch.device, limit: int | None) -> int | None:
    """Bytes for this program on a device, what it holds there already included. None: the machine's memory is the
    device's.

    limit: the most that is wanted.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        room = free + torch.cuda.memory_reserved(device)
    elif device.type == "mps":
        room = torch.mps.recommended_max_memory()
    else:
        return None
    return room if limit is None else min(room, limit)


def limit_device(device: torch.device, limit: int | None) -> None:
    """Let torch refuse more of a GPU than the user wants it to take."""
    if device.type == "cuda" and limit is not None:
        index = torch.cuda.current_device() if device.index is None else device.index
        total = torch.cuda.get_device_properties(index).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, limit / total), index)


def _pages() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
