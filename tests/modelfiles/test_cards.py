"""Cards are found by kind, folder, family and words, in order, some at a time."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.modelfiles.files import item_of, picture, write_embedding, write_lora
from webui.modelfiles.cards import Cards, Wanted, pick
from webui.networks.inventory import Item


@pytest.fixture
def items(tmp_path: Path) -> list[Item]:
    lora, word = tmp_path / "Lora", tmp_path / "embeddings"
    one = write_lora(lora / "wash.safetensors", {"ss_tag_frequency": {"a": {"watercolour": 3}}})
    two = write_lora(lora / "styles" / "Pixel.safetensors", width=2048)
    three = write_lora(lora / "styles" / "old" / "wash.safetensors")
    four = write_embedding(word / "bad-hands.safetensors")
    for number, path in enumerate((three, two, one, four)):
        os.utime(path, (1000 + number, 1000 + number))
    return [item_of(path, lora) for path in (one, two, three)] + [item_of(four, word, "embedding")]


def names(cards: Cards) -> list[str]:
    return [card["name"] for card in cards.cards]


def test_a_kind_is_one_of_several_that_are_counted(items: list[Item]):
    found = pick(items, Wanted("lora"))
    assert names(found) == ["styles/Pixel", "styles/old/wash", "wash"]
    assert found.kinds == {"lora": 3, "embedding": 1}
    assert found.folders == ("styles", "styles/old")


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted("lora", search="WATER wash"), ["wash"]),
        (Wanted("lora", search="sdxl"), ["styles/Pixel"]),
        (Wanted("lora", search="nothing"), []),
        (Wanted("lora", folder="styles"), ["styles/Pixel", "styles/old/wash"]),
        (Wanted("lora", folder="styles/old"), ["styles/old/wash"]),
        (Wanted("lora", folder="sty"), []),
        (Wanted("lora", family="sd1"), ["styles/old/wash", "wash"]),
        (Wanted("lora", sort="date"), ["styles/old/wash", "styles/Pixel", "wash"]),
        (Wanted("lora", sort="size", down=True), ["styles/Pixel", "wash", "styles/old/wash"]),
        (Wanted(sort="date", down=True, offset=1, limit=2), ["wash", "styles/Pixel"]),
    ],
)
def test_cards_are_found_by_what_is_wanted(items: list[Item], wanted: Wanted, found: list[str]):
    assert names(pick(items, wanted)) == found


def test_the_number_of_all_is_told_with_some(items: list[Item]):
    assert pick(items, Wanted("lora", limit=1)).total == 3


def test_a_file_that_tells_no_family_is_not_hidden(items: list[Item]):
    unknown = replace(items[0], family="")
    assert pick([unknown], Wanted("lora", family="sdxl")).total == 1


def test_a_tag_has_the_path_where_two_files_have_one_name(items: list[Item]):
    tags = {card["name"]: card["tag"] for card in pick(items, Wanted()).cards}
    assert tags == {
        "wash": "lora:wash", "styles/old/wash": "lora:styles/old/wash", "styles/Pixel": "lora:Pixel",
        "bad-hands": "bad-hands",
    }  # fmt: skip


def test_what_lies_beside_a_file_is_on_its_card(items: list[Item]):
    path = items[1].path
    path.with_suffix(".json").write_text(json.dumps({"activation text": "pixels", "preferred weight": 0.7}))
    path.with_suffix(".preview.png").write_bytes(picture("red"))
    (card,) = pick(items, Wanted(search="pixel")).cards
    assert (card["activation"], card["weight"]) == ("pixels", 0.7)
    assert int(card["picture"], 16) == path.with_suffix(".preview.png").stat().st_mtime_ns
    (other,) = pick(items, Wanted(search="hands")).cards
    assert (other["activation"], other["weight"], other["picture"]) == ("", 0.0, "")


def test_no_card_has_a_path_of_the_server(items: list[Item], tmp_path: Path):
    assert str(tmp_path) not in json.dumps(pick(items, Wanted()).cards)


def test_files_of_another_tree_are_shown_under_its_name(items: list[Item]):
    foreign = replace(items[1], place=replace(items[1].place, own=False, label="a1111"))
    (card,) = pick([foreign], Wanted()).cards
    assert (card["folder"], card["own"]) == ("a1111/styles", False)
