"""Which part is where in which stage, from sizes alone."""

from __future__ import annotations

import pytest

from webui.engine.memory.plan import Move, Size, Stage, leaving, lower, make_plan

SIZES = {"text": Size(2, 2), "unet": Size(10, 3), "control": Size(4, 1), "vae": Size(1, 1)}
STAGES = (
    Stage("text", ("text",), 1),
    Stage("denoise", ("unet", "control"), 5),
    Stage("decode", ("vae",), 6),
)


def told(moves: tuple[Move, ...]) -> list[str]:
    return [f"{move.stage}: {move.part} {'comes' if move.comes else 'leaves'}" for move in moves]


def test_with_room_for_all_parts_each_comes_once_and_stays() -> None:
    plan = make_plan(STAGES, SIZES, 23)
    assert (plan.manner, plan.fits, plan.peak, plan.together) == ("together", True, 23, 23)
    assert told(plan.moves) == [
        "text: text comes",
        "denoise: unet comes",
        "denoise: control comes",
        "decode: vae comes",
    ]


def test_one_byte_less_lets_the_groups_take_turns() -> None:
    plan = make_plan(STAGES, SIZES, 22)
    assert (plan.manner, plan.fits, plan.peak) == ("turns", True, 10 + 4 + 5)
    assert told(plan.moves) == [
        "text: text comes",
        "denoise: text leaves", "denoise: unet comes", "denoise: control comes",
        "decode: unet leaves", "decode: control leaves", "decode: vae comes",
    ]  # fmt: skip


def test_less_than_a_stage_needs_brings_the_blocks_one_by_one() -> None:
    assert make_plan(STAGES, SIZES, 19).manner == "turns"
    plan = make_plan(STAGES, SIZES, 18)
    assert (plan.manner, plan.fits, plan.peak) == ("blocks", True, 3 + 1 + 5)


def test_where_nothing_fits_the_last_manner_is_tried_all_the_same() -> None:
    plan = make_plan(STAGES, SIZES, 8)
    assert (plan.manner, plan.fits, plan.peak) == ("blocks", False, 9)


@pytest.mark.parametrize(("wish", "manner"), [("high", "together"), ("med", "turns"), ("low", "blocks")])
def test_a_wish_decides_whatever_the_sizes_are(wish: str, manner: str) -> None:
    assert make_plan(STAGES, SIZES, 1000, wish).manner == manner  # type: ignore[arg-type]
    assert make_plan(STAGES, SIZES, 1, wish).manner == manner  # type: ignore[arg-type]


def test_where_the_devices_memory_is_the_machines_nothing_takes_turns() -> None:
    assert make_plan(STAGES, SIZES, None, "low").manner == "together"


def test_what_is_on_the_device_already_does_not_come_again() -> None:
    plan = make_plan(STAGES, SIZES, 23, here=("unet", "vae"))
    assert told(plan.moves) == ["text: text comes", "denoise: control comes"]


def test_the_least_recently_used_leave_first_and_no_more_than_must() -> None:
    here = ("control", "text", "vae")
    assert leaving(here, ["unet"], ["unet", "control"], SIZES, 17, "together") == ()
    assert leaving(here, ["unet"], ["unet", "control"], SIZES, 16, "together") == ("control",)
    assert leaving(here, ["unet"], ["unet", "control"], SIZES, 12, "together") == ("control", "text")
    assert leaving(here, ["unet"], ["unet", "control"], SIZES, 0, "together") == here


def test_in_turns_all_of_other_stages_leave_and_those_of_the_stage_while_there_is_room() -> None:
    here = ("control", "text", "vae")
    assert leaving(here, ["unet"], ["unet", "control"], SIZES, 100, "turns") == ("text", "vae")
    assert leaving(here, ["unet"], ["unet", "control"], SIZES, 13, "turns") == here
    assert leaving(here, ["unet"], ["unet", "control"], SIZES, 4, "blocks") == ("text", "vae")


def test_what_is_wanted_never_leaves() -> None:
    assert leaving(("unet", "text"), ["unet", "text"], [], SIZES, 0, "turns") == ()


def test_the_manners_go_down_to_the_last() -> None:
    assert [lower("together"), lower("turns"), lower("blocks")] == ["turns", "blocks", None]
