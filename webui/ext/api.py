"""What an extension with a control adapter imports. No torch is needed to import this."""

from __future__ import annotations

from webui.checkpoints.header import Header, TensorInfo
from webui.control.adapters import Base, ControlAdapter, Hint, Map, Match, Residuals, UnetRows

__all__ = ["Base", "ControlAdapter", "Header", "Hint", "Map", "Match", "Residuals", "TensorInfo", "UnetRows"]
