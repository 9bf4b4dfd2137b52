import random

import numpy as np
import pytest
import torch

from models.toybox.evaluate import prompts, scene_like, scores
from models.toybox.judges import CELLS, VIEW, Judges, Person, Thing, Verdict, crops, judge, spots
from models.toybox.lessons import heat_of, seen_in
from models.toybox.world import Facts, PersonWords, ThingWords, parse_caption, relations_of, scene_of

BALL, CUBE = Thing("ball", "red", 0.2, 0.9), Thing("cube", "blue", 0.7, 0.8)


def verdict(*things, people=()):
    return Verdict("green", "blue", things, people)


def marks(prompt, seen):
    return dict(scores(parse_caption(prompt), seen))


def test_a_crop_around_the_middle_at_half_the_side_is_the_middle_of_the_picture():
    picture = torch.rand(1, 3, 2 * VIEW, 2 * VIEW)
    half = crops(picture, torch.tensor([[0.5, 0.5]]), torch.tensor([0.5]))
    torch.testing.assert_close(half, picture[..., VIEW // 2 : -VIEW // 2, VIEW // 2 : -VIEW // 2])


def test_what_lies_outside_a_picture_is_its_nearest_pixel():
    picture = torch.rand(1, 3, 2 * VIEW, 2 * VIEW)
    corner = crops(picture, torch.tensor([[0.0, 0.0]]), torch.tensor([0.5]))
    torch.testing.assert_close(corner[..., 0, 0], picture[..., 0, 0])


def test_the_finders_target_peaks_in_the_cells_of_the_middles():
    heat = heat_of([[(0.1, 0.47), (0.8, 0.9)], []])
    found = spots(heat)
    assert [spot.row for spot in found] == [0, 0]
    for spot, (x, y) in zip(found, [(0.1, 0.47), (0.8, 0.9)], strict=True):
        assert abs(spot.x - x) <= 0.5 / CELLS
        assert abs(spot.y - y) <= 0.5 / CELLS


def test_a_subject_is_in_the_middle_of_the_box_around_its_pixels_and_a_hidden_one_is_not_seen():
    owners = np.full((128, 128), -1, np.int8)
    owners[32:64, 64:128] = 0
    owners[0, :5] = 1
    scene = next(scene for scene in map(scene_of, range(50)) if len(scene.subjects) == 2)
    (seen,) = seen_in(scene, owners, 3)
    assert seen.middle == (0.75, 0.375)
    assert (seen.picture, seen.words) == (3, scene.subjects[0].words)


def test_judges_give_a_verdict_on_every_picture():
    torch.manual_seed(0)
    verdicts = judge(Judges(), torch.rand(3, 3, 128, 128) * 2 - 1)
    assert len(verdicts) == 3
    for seen in verdicts:
        assert list(seen.things) == sorted(seen.things, key=lambda thing: -thing.sure)


def test_a_single_object_is_the_surest_thing_seen():
    seen = marks("a big red cube on a green floor, orange sky", verdict(BALL, CUBE))
    assert seen == {"floor": True, "sky": False, "object colour": True, "object shape": False}


def test_nothing_seen_is_wrong():
    assert not any(marks("a big red ball left of a small blue cube", verdict()).values())
    person = marks("a person in a red shirt and blue pants waving", verdict(BALL))
    assert [person[name] for name in ("person seen", "shirt colour", "pants colour", "pose")] == [False] * 4


def test_a_person_is_read_word_by_word():
    seen = marks(
        "a person in a red shirt and blue pants waving", verdict(people=(Person("red", "pink", "waving", 0.9),))
    )
    assert (seen["person seen"], seen["shirt colour"], seen["pants colour"], seen["pose"]) == (True, True, False, True)


@pytest.mark.parametrize("things", [(BALL, CUBE), (CUBE, BALL)])
def test_two_objects_are_told_apart_by_their_words(things):
    left = marks("a big red ball left of a small blue cube", verdict(*things))
    right = marks("a big red ball right of a small blue cube", verdict(*things))
    assert (left["two objects, colours bound"], left["left / right of"]) == (True, True)
    assert (right["two objects, colours bound"], right["left / right of"]) == (True, False)


def test_mixed_colours_are_not_bound_but_have_a_side():
    seen = marks("a big blue ball left of a small red cube", verdict(BALL, CUBE))
    assert (seen["two objects, colours bound"], seen["left / right of"]) == (False, True)


def test_a_perfect_scene_has_the_facts_of_its_prompt():
    for facts in prompts(40):
        scene = scene_like(facts, random.Random(0))
        words = tuple(subject.words for subject in scene.subjects)
        assert Facts(words, facts.relation, scene.floor, scene.sky) == facts
        assert all(isinstance(each, PersonWords | ThingWords) for each in words)
        if facts.relation:
            assert {word for _, word, _ in relations_of(scene)} <= {"left of", "right of"}
