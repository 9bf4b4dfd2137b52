"""Toybox: a small Stable Diffusion trained on pictures rendered here (see docs/toybox.md)."""
