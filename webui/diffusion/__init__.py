"""Noise schedules, samplers, guidance and noise of diffusion models; knows no network class, only callables."""
