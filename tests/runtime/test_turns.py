"""Whose job comes next."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from webui.runtime.turns import Turns

OWNERS = st.sampled_from(["ann", "ben", "cid"])


def turns_of(*jobs: tuple[str, str]) -> Turns:
    turns = Turns()
    for owner, job_id in jobs:
        turns.add(owner, job_id)
    return turns


def drain(turns: Turns) -> list[str]:
    taken = []
    while (job_id := turns.next()) is not None:
        taken.append(job_id)
    return taken


def test_one_owner_is_served_in_the_order_of_asking() -> None:
    assert drain(turns_of(("ann", "a1"), ("ann", "a2"), ("ann", "a3"))) == ["a1", "a2", "a3"]


def test_owners_take_turns() -> None:
    turns = turns_of(("ann", "a1"), ("ann", "a2"), ("ann", "a3"), ("ben", "b1"), ("ben", "b2"))
    assert drain(turns) == ["a1", "b1", "a2", "b2", "a3"]


def test_a_newcomer_waits_for_one_job_of_each_owner_before() -> None:
    turns = turns_of(*(("ann", f"a{i}") for i in range(20)))
    assert turns.next() == "a0"
    turns.add("ben", "b1")
    assert [turns.next(), turns.next()] == ["a1", "b1"]


def test_an_owner_who_asks_again_after_each_job_does_not_starve_the_others() -> None:
    turns = turns_of(("ann", "a1"), ("ben", "b1"), ("ben", "b2"))
    assert turns.next() == "a1"
    turns.add("ann", "a2")
    assert [turns.next(), turns.next(), turns.next()] == ["b1", "a2", "b2"]


def test_a_removed_job_gets_no_turn() -> None:
    turns = turns_of(("ann", "a1"), ("ann", "a2"), ("ben", "b1"))
    assert turns.remove("ann", "a1")
    assert not turns.remove("ann", "a1")
    assert not turns.remove("ann", "b1")
    assert turns.remove("ben", "b1")
    assert (len(turns), turns.count("ann"), turns.count("ben")) == (1, 1, 0)
    assert drain(turns) == ["a2"]


@given(st.lists(OWNERS, max_size=30))
def test_the_order_foretold_is_the_order_that_comes(owners: list[str]) -> None:
    turns = turns_of(*((owner, f"{owner}{index}") for index, owner in enumerate(owners)))
    foretold = turns.order()
    assert len(turns) == len(owners)
    assert drain(turns) == foretold
    assert sorted(foretold) == sorted(f"{owner}{index}" for index, owner in enumerate(owners))
