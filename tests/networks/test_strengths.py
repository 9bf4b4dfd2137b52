"""What the weights of a tag mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webui.networks.strengths import read_strengths
from webui.prompt.schedule import Clock
from webui.prompt.tags import split_tags
from webui.schema.errors import BadRequest

CLOCK = Clock(20)


def strengths(text: str, step: int = 0, clock: Clock = CLOCK) -> tuple[float, float]:
    (tag,) = split_tags(text)[1]
    read = read_strengths(tag)
    return read.te.at(step, clock), read.unet.at(step, clock)


@pytest.mark.parametrize(
    ("text", "te", "unet"),
    [
        ("<lora:a>", 1, 1),
        ("<lora:a:0.8>", 0.8, 0.8),
        ("<lyco:a:.5>", 0.5, 0.5),
        ("<lora:a:-1>", -1, -1),
        ("<lora:a:0.5:2>", 0.5, 2),
        ("<lora:a:0.5:2:4>", 0.5, 2),
        ("<lora:a:te=0.5>", 0.5, 0.5),
        ("<lora:a:unet=0.5>", 1, 0.5),
        ("<lora:a:te=0.25:unet=0.5>", 0.25, 0.5),
        ("<lora:a:0.3:unet=0.5:dyn=8>", 0.3, 0.5),
        ("<lora:a:1e>", None, None),
        ("<lora:a: 0.5 : 0.6 >", 0.5, 0.6),
        ("<lora:a:500>", 100, 100),
    ],
)
def test_weights_are_those_of_text_and_unet(text: str, te: float | None, unet: float | None) -> None:
    if te is None:
        with pytest.raises(BadRequest, match='In <lora:a:1e>, "1e" is no weight'):
            strengths(text)
    else:
        assert strengths(text) == (te, unet)


@pytest.mark.parametrize(("step", "weight"), [(0, 0.5), (4, 0.5), (7, 0.625), (10, 0.75), (16, 1), (19, 1)])
def test_weights_go_straight_from_one_moment_to_the_next(step: int, weight: float) -> None:
    assert strengths("<lora:a:0:0.5@0.2,1@0.8>", step)[1] == pytest.approx(weight)
    assert strengths("<lora:a:0:0.5@4,1@16>", step)[1] == pytest.approx(weight)
    assert strengths("<lora:a:0:1@0.8,0.5@4>", step)[1] == pytest.approx(weight)
    assert strengths("<lora:a:0:0.5@.2,1@0.8>", step)[0] == 0


def test_two_weights_at_one_moment_are_a_jump() -> None:
    assert [strengths("<lora:a:0:0@0.5,1@0.5>", step)[1] for step in (0, 9, 10, 19)] == [0, 0, 1, 1]


def test_the_hires_pass_has_shares_from_one_to_two_and_the_steps_that_follow() -> None:
    hires = Clock(10, before=20, part=1)
    for text in ("<lora:a:0:0@1.0,1@1.5>", "<lora:a:0:0@20,1@25>"):
        assert [strengths(text, step)[1] for step in (0, 19)] == [0, pytest.approx(0)]
        assert [strengths(text, step, hires)[1] for step in (0, 1, 5, 9)] == pytest.approx([0, 0.2, 1, 1])
    assert strengths("<lora:a:0:0.5@0.2,1@0.8>", 0, hires)[1] == 1


def test_whether_a_weight_changes_is_known() -> None:
    (one, two) = split_tags("<lora:a:0.5><lora:a:0:0.5@0,1@1.0>")[1]
    assert not read_strengths(one).unet.changes
    assert read_strengths(two).unet.changes
    assert not read_strengths(two).te.changes


@pytest.mark.parametrize("text", ["<lora:a:0.5,1>", "<lora:a:0.5@0.2,1>", "<lora: :1>", "<lora:a:x>", "<lora:a:1@x>"])
def test_what_means_nothing_is_refused_with_the_spellings(text: str) -> None:
    with pytest.raises(BadRequest) as raised:
        strengths(text)
    assert "<lora:name:0.8>" in raised.value.cure


def test_values_that_mean_nothing_here_are_told() -> None:
    (tag,) = split_tags("<lora:a:1:1:1:7:lbw=OUTALL>")[1]
    assert read_strengths(tag).notes == (
        'In <lora:a:1:1:1:7:lbw=OUTALL>, "7" has no meaning here and was left out.',
        'In <lora:a:1:1:1:7:lbw=OUTALL>, "lbw=OUTALL" has no meaning here and was left out.',
    )


@given(st.lists(st.tuples(st.integers(-20, 20), st.integers(0, 40)), min_size=1), st.integers(0, 19))
def test_a_weight_lies_between_the_least_and_the_greatest(points: list[tuple[int, int]], step: int) -> None:
    text = ",".join(f"{weight}@{when}" for weight, when in points)
    _te, unet = strengths(f"<lora:a:0:{text}>", step)
    weights = [weight for weight, _when in points]
    assert min(weights) - 1e-9 <= unet <= max(weights) + 1e-9
