"""Who runs before whom: the graph, then the number, then the id; the same every time."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from webui.ext.manifest import Manifest
from webui.ext.order import cycles, running_order


def named(id: str, after: tuple[str, ...] = (), before: tuple[str, ...] = (), order: int = 0, **needs: tuple[str, ...]):
    return Manifest.model_validate({
        "id": id, "name": id, "version": "1", "api": "1", "dependencies": needs,
        "order": {"after": after, "before": before, "order": order},
    })  # fmt: skip


def test_without_wishes_ids_run_in_the_order_of_the_alphabet():
    assert running_order([named("cc"), named("aa"), named("bb")]) == ("aa", "bb", "cc")


def test_a_lower_number_runs_first():
    assert running_order([named("aa", order=1), named("bb"), named("cc", order=-1)]) == ("cc", "bb", "aa")


def test_after_and_before_win_over_numbers():
    assert running_order([named("aa", after=("bb",), order=-9), named("bb")]) == ("bb", "aa")
    assert running_order([named("aa"), named("bb", before=("aa",), order=9)]) == ("bb", "aa")


def test_what_an_extension_needs_runs_before_it():
    assert running_order([named("aa", extensions=("bb>=1",)), named("bb")]) == ("bb", "aa")
    assert running_order([named("aa", optional=("bb",)), named("bb")]) == ("bb", "aa")


def test_ids_that_are_not_there_do_not_matter():
    assert running_order([named("aa", after=("zz",)), named("bb", before=("yy",))]) == ("aa", "bb")


def test_a_cycle_is_told_from_each_of_its_members():
    manifests = [named("aa", after=("bb",)), named("bb", after=("cc",)), named("cc", after=("aa",)), named("dd")]
    assert cycles(manifests) == {"aa": ("aa", "bb", "cc"), "bb": ("bb", "cc", "aa"), "cc": ("cc", "aa", "bb")}
    assert running_order(manifests) == ("dd",)


def test_an_extension_that_waits_for_itself_is_a_cycle():
    assert cycles([named("aa", after=("aa",))]) == {"aa": ("aa",)}


def test_who_waits_for_a_cycle_is_not_part_of_it():
    manifests = [named("aa", after=("bb",)), named("bb", before=("bb",))]
    assert set(cycles(manifests)) == {"bb"}


IDS = ["aa", "bb", "cc", "dd", "ee", "ff"]


@given(st.sets(st.tuples(st.sampled_from(IDS), st.sampled_from(IDS))), st.permutations(IDS), st.data())
def test_every_wish_is_kept_whatever_the_order_of_the_folders(wishes: set[tuple[str, str]], ids: list[str], data):
    forward = {(a, b) for a, b in wishes if a < b}  # so that there is no cycle
    numbers = {id: data.draw(st.integers(-2, 2)) for id in IDS}

    def manifest(id: str) -> Manifest:
        return named(id, after=tuple(sorted(a for a, b in forward if b == id)), order=numbers[id])

    order = running_order([manifest(id) for id in ids])
    assert sorted(order) == IDS
    assert all(order.index(a) < order.index(b) for a, b in forward)
    assert order == running_order([manifest(id) for id in IDS])
    for one, other in pairwise(order):  # neighbours stand in order of (number, id) unless the graph says otherwise
        assert (numbers[one], one) < (numbers[other], other) or (one, other) in forward
