"""Weights that wait for the next time."""

from __future__ import annotations

import torch

from webui.networks.kept import KeptWeights, Key, WorkedOut
from webui.networks.names import Place


def key(name: str) -> Key:
    return Place("unet", (name,)), ()


def weights(count: int) -> WorkedOut:
    return WorkedOut((True,), {("unet", "weight"): torch.zeros(count)})


def test_what_was_put_aside_is_taken_once() -> None:
    kept, one = KeptWeights(), weights(3)
    kept.add(key("a"), one)
    assert kept.bytes == 12
    assert kept.take(key("b")) is None
    assert kept.take(key("a")) is one
    assert (kept.take(key("a")), kept.bytes) == (None, 0)


def test_the_oldest_go_when_the_limit_is_passed_and_the_latest_before_that() -> None:
    kept = KeptWeights(limit=24)
    for name in "abca":
        kept.add(key(name), weights(3))
    assert kept.bytes == 36
    kept.trim()
    assert kept.bytes == 24
    assert kept.take(key("b")) is None
    assert kept.take(key("a")) is not None


def test_what_is_wanted_now_stays_and_does_not_count() -> None:
    kept = KeptWeights(limit=12)
    for name in "abc":
        kept.add(key(name), weights(3))
    kept.trim({key("a")})
    assert [kept.take(key(name)) is not None for name in "abc"] == [True, False, True]


def test_clearing_lets_all_go() -> None:
    kept = KeptWeights()
    kept.add(key("a"), weights(3))
    kept.clear()
    assert kept.bytes == 0
