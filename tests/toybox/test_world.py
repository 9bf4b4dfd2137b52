import random
from itertools import combinations

import numpy as np
import pytest

from models.toybox.world import (
    COLORS,
    FLOORS,
    POSES,
    RELATIONS,
    SKIES,
    PersonWords,
    Thing,
    ThingWords,
    augmented_caption,
    build_scene,
    caption,
    full_caption,
    parse_caption,
    relations_of,
    sample_facts,
    scene_of,
)

SEEDS = range(300)


@pytest.mark.parametrize("relation", [None, *RELATIONS])
def test_a_full_caption_parses_back_to_its_facts(relation):
    for seed in SEEDS:
        facts = sample_facts(random.Random(seed))
        facts = type(facts)(facts.subjects, relation if len(facts.subjects) > 1 else None, facts.floor, facts.sky)
        assert parse_caption(full_caption(facts)) == facts


def test_a_caption_says_only_what_is_in_the_scene():
    for seed in SEEDS:
        scene = scene_of(seed)
        said = parse_caption(caption(scene, random.Random(seed)))
        assert said.floor in (None, scene.floor)
        assert said.sky in (None, scene.sky)
        assert len(said.subjects) == len(scene.subjects)
        for words in said.subjects:
            assert any(fits(words, subject.words) for subject in scene.subjects)


def fits(words, facts):
    """Every word that is said is true of the facts."""
    return type(words) is type(facts) and all(
        getattr(words, name) in (None, getattr(facts, name)) for name in vars(words)
    )


def test_a_relation_holds_in_the_picture():
    found = 0
    for seed in SEEDS:
        scene = scene_of(seed)
        spots = scene.camera.project(np.array([[s.x, 0.0, s.z] for s in scene.subjects]))
        for first, word, second in relations_of(scene):
            found += 1
            if word in ("left of", "right of"):
                assert (spots[first, 0] < spots[second, 0]) == (word == "left of")
            else:  # what is further away stands higher on the floor's picture
                assert (spots[first, 1] < spots[second, 1]) == (word == "behind")
    assert found > 50


def test_the_same_seed_gives_the_same_scene():
    for seed in range(20):
        one, two = scene_of(seed), scene_of(seed)
        assert (one.floor, one.sky, one.camera, one.light) == (two.floor, two.sky, two.camera, two.light)
        assert [s.words for s in one.subjects] == [s.words for s in two.subjects]


def test_every_word_of_the_world_is_drawn():
    facts = [sample_facts(random.Random(seed)) for seed in range(2000)]
    assert {f.floor for f in facts} == set(FLOORS)
    assert {f.sky for f in facts} == set(SKIES)
    people = [w for f in facts for w in f.subjects if isinstance(w, PersonWords)]
    assert {w.pose for w in people} == set(POSES)
    assert {w.color for f in facts for w in f.subjects if isinstance(w, ThingWords)} == set(COLORS)


def test_objects_hardly_ever_stand_inside_one_another():
    gaps = []
    for seed in SEEDS:
        things = [s for s in scene_of(seed).subjects if isinstance(s, Thing)]
        for one, other in combinations(things, 2):
            gaps.append(np.hypot(one.x - other.x, one.z - other.z) - one.radius - other.radius)
    assert len(gaps) > 50
    assert np.mean(np.array(gaps) > 0) > 0.95


def test_one_caption_in_eight_is_empty():
    scene = scene_of(1)
    empty = [augmented_caption(scene, random.Random(seed)) == "" for seed in range(2000)]
    assert 0.09 < sum(empty) / len(empty) < 0.15


def test_words_left_out_are_drawn():
    scene = build_scene(parse_caption("a ball"), random.Random(3))
    (ball,) = scene.subjects
    assert ball.words.color in COLORS
    assert scene.floor in FLOORS
