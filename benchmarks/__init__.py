"""Measurements, run by hand: `python -m benchmarks.speed`. No test asserts them."""
