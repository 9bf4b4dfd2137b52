"""What is asked to measure region prompts."""

import pytest
import torch
from PIL import Image

from models.toybox.evaluate import prompts
from models.toybox.evaluate_regions import regions_of, request_of, table, tensor_of, two_objects
from models.toybox.world import parse_caption

LEFT = parse_caption("a big red ball left of a small blue cube on a green floor, orange sky")
RIGHT = parse_caption("a big red ball right of a small blue cube on a green floor, orange sky")


def test_the_prompts_are_those_of_evaluate_that_have_two_objects():
    asked = [facts for facts in prompts(200) if len(facts.subjects) == 2 and facts.relation]
    assert two_objects(24) == asked[:24]
    assert two_objects(60) == asked


@pytest.mark.parametrize(("facts", "first", "second"), [(LEFT, "left", "right"), (RIGHT, "right", "left")])
def test_each_object_has_a_region_on_its_side_with_the_floor_and_sky_of_the_prompt(facts, first, second):
    assert regions_of(facts).splitlines() == [
        f"{first}: a big red ball on a green floor, orange sky",
        f"{second}: a small blue cube on a green floor, orange sky",
    ]


def test_the_columns_differ_in_the_regions_alone():
    alone, latent = (request_of(LEFT, 7, mode) for mode in (None, "latent"))
    assert alone.ext == {}
    assert latent.ext == {"regions": {"regions": regions_of(LEFT), "mode": "latent"}}
    assert latent.model_copy(update={"ext": {}}) == alone
    assert (alone.prompt, alone.seed, alone.steps, alone.cfg_scale) == (
        "a big red ball left of a small blue cube on a green floor, orange sky", 7, 20, 4,
    )  # fmt: skip


def test_pictures_become_values_from_minus_one_to_one():
    pictures = tensor_of([Image.new("RGB", (3, 2), (0, 255, 0)), Image.new("RGB", (3, 2), "white")])
    assert pictures.shape == (2, 3, 2, 3)
    assert torch.equal(pictures[:, :, 1, 2], torch.tensor([[-1.0, 1.0, -1.0], [1.0, 1.0, 1.0]]))


def test_a_row_tells_one_figure_of_every_column():
    columns = [{"sky": 100.0, "sides": 12.4}, {"sky": 0.0, "sides": 25.0}]
    assert table(columns) == ["| sky | 100 % | 0 % |", "| sides | 12 % | 25 % |"]
