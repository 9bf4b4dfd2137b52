"""Likeness and description against transformers' own CLIPModel, on a tiny one with random weights."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from tests.ext.studio import Studio
from tests.extensions.conftest import bundle
from tests.extensions.support import ROOT, cloud, module
from tests.extensions.tiny import randomize
from webui.engine.answers import Answers, Ask
from webui.ext.check import check_extension
from webui.ext.files import ModelFiles
from webui.schema.asks import Answer
from webui.schema.errors import BadRequest, NotFound
from webui.schema.events import ImageReady
from webui.schema.results import by_rank

NAME = "clip_vit_base_patch32"
PROMPT = "a red ball on a green floor"
TEXTS = [PROMPT, "a cube", "x"]


def write_clip(folder: Path, seed: int = 0) -> CLIPModel:
    """A tiny CLIP model of 32 x 32 pixels and 40 tokens, whose tokens are letters, in the layout of published ones."""
    letters = [chr(code) for code in range(33, 127)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: number for number, word in enumerate(words)}
    text = {
        "vocab_size": len(words), "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "max_position_embeddings": 40, "bos_token_id": len(words) - 2,
        "eos_token_id": len(words) - 1, "pad_token_id": len(words) - 1,
    }  # fmt: skip
    vision = {
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32,
        "patch_size": 8,
    }  # fmt: skip
    network = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)).eval()
    randomize(network, seed)
    network.logit_scale.data.fill_(3.0)
    network.save_pretrained(folder)
    CLIPTokenizer(vocab=vocabulary, merges=[]).save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    size = {"height": 32, "width": 32}
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=size).save_pretrained(folder)
    return network


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models with the tiny CLIP under the default's name."""
    home = tmp_path_factory.mktemp("clip")
    write_clip(home / NAME)
    return home


@pytest.fixture(scope="module")
def network(folder: Path) -> CLIPModel:
    return CLIPModel.from_pretrained(folder / NAME).eval()


@pytest.fixture
def code() -> Iterator[ModuleType]:
    with module("clip_rank", "clip") as clip:
        yield clip


def files(folder: Path) -> ModelFiles:
    kept: dict[str, Any] = {}

    def path(id: str) -> Path:
        if not (folder / NAME).is_dir():
            raise NotFound(f"{id} is missing")
        return folder / NAME

    def load(key: str, make: Any) -> Any:
        return kept[key] if key in kept else kept.setdefault(key, make())

    return ModelFiles(folder, path, load)


def images() -> list[Image.Image]:
    return [Image.fromarray(cloud(40 + 8 * seed, 56, seed)) for seed in range(4)]


def logits_per_image(network: CLIPModel, folder: Path, texts: list[str]) -> torch.Tensor:
    """As transformers itself computes them."""
    tokens = CLIPTokenizer.from_pretrained(folder / NAME)(texts, padding=True, return_tensors="pt")
    pixels = CLIPImageProcessorPil.from_pretrained(folder / NAME)(images(), return_tensors="pt")
    given = {"input_ids": tokens["input_ids"], "attention_mask": tokens["attention_mask"]}
    with torch.no_grad():
        return network(**given, pixel_values=pixels["pixel_values"]).logits_per_image


def test_cosines_are_those_of_transformers_own_model(code: ModuleType, folder: Path, network: CLIPModel):
    clip = code.open_clip(files(folder), NAME)
    cosines = clip.of_images(images()) @ clip.of_texts(TEXTS).T
    expected = logits_per_image(network, folder, TEXTS)
    assert torch.allclose(clip.scale * cosines, expected, atol=1e-4)
    assert expected.std(0).min() > 0.01  # the pictures differ


def test_files_in_the_older_form_of_published_repositories_read_the_same(
    code: ModuleType, folder: Path, tmp_path: Path
):
    shutil.copytree(folder / NAME, tmp_path / NAME)
    old = {
        "feature_extractor_type": "CLIPFeatureExtractor", "size": 32, "crop_size": 32, "resample": 3,
        "do_resize": True, "do_center_crop": True, "do_normalize": True,
        "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
    }  # fmt: skip
    (tmp_path / NAME / "preprocessor_config.json").write_text(json.dumps(old))
    (tmp_path / NAME / "tokenizer.json").unlink()
    before, after = (code.open_clip(files(place), NAME) for place in (folder, tmp_path))
    assert torch.equal(after.of_images(images()), before.of_images(images()))
    assert torch.equal(after.of_texts(TEXTS), before.of_texts(TEXTS))


def test_a_text_that_is_too_long_is_cut_off_and_said_to_be(code: ModuleType, folder: Path):
    clip = code.open_clip(files(folder), NAME)
    assert clip.reads_all("a ball")
    assert not clip.reads_all("a ball " * 10)
    assert clip.of_texts(["a ball " * 10]).shape == (1, 12)


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("a (red:1.3) ball", "a red ball"),
        ("((a ball)), [blurry], <lora:style:0.8>", "a ball, blurry"),
        ("a ball BREAK a cube", "a ball a cube"),
        ("a smile \\(happy\\), time 12:30", "a smile (happy), time 12:30"),
        ("a,, b,\n c ,", "a, b, c"),
        ("<lora:x:1>", ""),
    ],
)
def test_clip_reads_the_words_of_a_prompt(code: ModuleType, prompt: str, words: str):
    assert code.spoken(prompt) == words


def test_what_is_no_clip_folder_is_refused_with_the_cure(code: ModuleType, folder: Path, tmp_path: Path):
    other = tmp_path / "models"
    shutil.copytree(folder / NAME, other / NAME)
    (other / "bert").mkdir()
    (other / "bert" / "config.json").write_text('{"model_type": "bert"}')
    (other / "torn").mkdir()
    (other / "torn" / "config.json").write_text('{"model_type": "cl')
    (other / "pickled").mkdir()
    (other / "pickled" / "config.json").write_text('{"model_type": "clip"}')
    for name, said in [("no", "no CLIP model 'no'"), ("../x", "no CLIP model"), ("", "no CLIP model"),
                       ("bert", "kind 'bert'"), ("torn", "kind ''"), ("pickled", "no .safetensors")]:  # fmt: skip
        with pytest.raises(BadRequest, match=said) as caught:
            code.open_clip(files(other), name)
        assert caught.value.cure
    shutil.rmtree(other / NAME)
    with pytest.raises(NotFound):
        code.open_clip(files(other), NAME)


def test_a_description_takes_the_best_words_of_each_list(folder: Path, network: CLIPModel):
    models = files(folder)
    with module("clip_rank", "clip") as clip, module("clip_rank", "describe") as describe:
        opened = clip.open_clip(models, NAME)
        lists = describe.vectors(opened, models, NAME)
        found = describe.describe(opened, opened.of_images(images())[1], lists, best=2)
        for name, template in describe.TEMPLATES.items():
            listed = describe.words(name)
            assert len(listed) == len(set(listed)) >= 15
            shares = logits_per_image(network, folder, [template.format(word) for word in listed])[1].softmax(0)
            expected = sorted(zip(listed, shares.tolist(), strict=True), key=lambda pair: -pair[1])[:2]
            assert [word for word, _ in found.found[name]] == [word for word, _ in expected]
            assert np.allclose([share for _, share in found.found[name]], [share for _, share in expected], atol=1e-3)
    first = {name: words[0][0] for name, words in found.found.items()}
    assert found.text == "{medium} of {subject}, {style}, {light}, {colours}".format(**first)


# in whole jobs


@pytest.fixture
def ranking(studio: Studio, tiny_models: Path, folder: Path) -> Iterator[Studio]:
    place = tiny_models / "ControlNetPreprocessor" / NAME
    shutil.copytree(folder / NAME, place)
    yield bundle(studio, "clip_rank")
    shutil.rmtree(place)


def test_the_pictures_of_a_job_are_compared_and_ordered(ranking: Studio, folder: Path, code: ModuleType):
    plain = ranking.draw(n_iter=2, batch_size=2)
    drawn = ranking.draw(n_iter=2, batch_size=2, ext={"clip_rank": {"compare": True}})
    assert drawn == plain
    told = ranking.of(ImageReady)
    clip = code.open_clip(files(folder), NAME)
    (text,) = clip.of_texts(["a red ball"])
    for event, pixels in zip(told, drawn, strict=True):
        (vector,) = clip.of_images([Image.frombytes("RGB", (event.width, event.height), pixels)])
        assert event.rank == pytest.approx(float(vector @ text), abs=1e-5)
        assert event.infotext == {"CLIP likeness": round(event.rank, 4)}
    assert len({event.rank for event in told}) == 4
    order = by_rank(range(4), [event.rank for event in told])
    assert [told[at].rank for at in order] == sorted((event.rank for event in told), reverse=True)
    assert ranking.notes == []
    assert ranking.draw(n_iter=2, batch_size=2) == plain


def test_order_can_be_left_and_other_words_taken(ranking: Studio):
    ranking.draw(ext={"clip_rank": {"compare": True, "order": False, "words": "a cube"}})
    (other,) = ranking.of(ImageReady)
    ranking.draw(ext={"clip_rank": {"compare": True}})
    (own,) = ranking.of(ImageReady)
    assert other.rank is None
    assert other.infotext["CLIP likeness"] != own.infotext["CLIP likeness"]


def test_a_picture_is_described_in_its_text(ranking: Studio):
    ranking.draw(ext={"clip_rank": {"describe": True}})
    (event,) = ranking.of(ImageReady)
    assert list(event.infotext) == ["CLIP description"]
    assert event.infotext["CLIP description"].count(",") >= 3
    assert event.rank is None


def test_a_long_prompt_is_told(ranking: Studio):
    ranking.draw(prompt="a very very long prompt about a red ball on the floor", ext={"clip_rank": {"compare": True}})
    assert ranking.notes == ["The prompt is longer than CLIP reads: pictures were compared with its beginning."]


def test_a_missing_model_fails_the_job_before_it_draws_and_says_what_to_put_where(studio: Studio):
    bundle(studio, "clip_rank")
    message = studio.failure(ext={"clip_rank": {"compare": True}})
    assert message.startswith('Extension "clip_rank": CLIP rank needs config.json, preprocessor_config.json,')
    assert NAME in message
    assert studio.draw(ext={"clip_rank": {"model": "nothing is asked"}})


def ask(studio: Studio, name: str, body: dict[str, Any], count: int) -> Answer:
    """What a route answers for so many pictures."""
    given = {}
    for image in images()[:count]:
        data = io.BytesIO()
        image.save(data, "PNG")
        given[hashlib.sha256(data.getvalue()).hexdigest()] = data.getvalue()
    call = {"ext": "clip_rank", "name": name, "body": body, "images": [{"sha256": sha} for sha in given]}
    answers = list[Answer]()
    reply = Ask("route", call, given, lambda answer, frames: answers.append(answer))
    Answers(studio.engine.extensions, studio.engine.models).answer(reply)
    return answers[0]


def test_routes_compare_and_describe_pictures(ranking: Studio, folder: Path, network: CLIPModel):
    expected = logits_per_image(network, folder, [PROMPT])[:, 0] / network.logit_scale.exp()
    answer = ask(ranking, "compare", {"prompt": f"({PROMPT}:1.2)"}, 4)
    assert answer.error is None
    assert np.allclose(answer.body["likeness"], expected.tolist(), atol=1e-5)
    assert answer.body["order"] == expected.argsort(descending=True).tolist()
    (told,) = ask(ranking, "describe", {"best": 2}, 1).body["pictures"]
    assert set(told) == {"text", "subject", "medium", "style", "light", "colours"}
    assert [len(told[name]) for name in ("subject", "colours")] == [2, 2]


@pytest.mark.parametrize(
    ("name", "body", "count", "said"),
    [
        ("compare", {"prompt": "a ball"}, 0, "There is no picture."),
        ("compare", {}, 1, 'There is no "prompt" to compare with.'),
        ("compare", {"promt": "a ball"}, 1, "There is no 'promt' here."),
        ("describe", {"best": "3"}, 1, "'best' is '3' but must be a whole number from 1."),
        ("describe", {"best": -1}, 1, "'best' is -1 but must be a whole number from 1."),
        ("describe", {"model": 1}, 1, "'model' is 1 but must be a text."),
    ],
)
def test_a_route_names_what_is_wrong(ranking: Studio, name: str, body: dict[str, Any], count: int, said: str):
    answer = ask(ranking, name, body, count)
    assert answer.error is not None
    assert answer.error["message"] == f'Extension "clip_rank": {said}'


def test_pictures_without_a_rank_stay_behind_in_their_order():
    assert by_rank("abcd", [None, 0.1, None, 0.3]) == ("d", "b", "a", "c")
    assert by_rank("abc", [None, None, None]) == ("a", "b", "c")


def test_its_code_is_as_its_manifest_says():
    assert check_extension(ROOT / "clip_rank") == ()
