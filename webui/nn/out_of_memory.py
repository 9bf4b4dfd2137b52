"""Whether something failed because memory ran out."""

from __future__ import annotations

import torch

FULL = ("can't allocate memory", "out of memory", "ALLOC_FAILED")
"""What the allocators of CPUs, MPS and CUDA's libraries say when there is no memory left."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: torch's allocator for CUDA has an error of its own for that, others only words."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in FULL)
