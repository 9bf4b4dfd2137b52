"""Choices in prompts: from the files of a server, for each picture of a job."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support import write_tiny_checkpoint
from webui.engine.api import Pipeline
from webui.images.form import Form, parse, read_form
from webui.images.pairs import write_pairs
from webui.prompt.picture_prompts import PicturePrompts, Wildcards, written_form
from webui.prompt.styles import Styles
from webui.schema.errors import NotFound
from webui.schema.requests import Txt2Img

SIZE = {"width": 64, "height": 48, "steps": 2, "sampler": "Euler", "seed": 5}


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("root")
    write_tiny_checkpoint(root / "models" / "Stable-diffusion" / "tiny.safetensors", seed=1)
    for name, text in {
        "models/wildcards/colour.txt": "\ufeffred\n\n# not this\n  green  \r\nblue",
        "models/wildcards/animals/Cat.txt": "a cat",
        "wildcards/colour.txt": "hidden",
        "wildcards/place.txt": "Köln",
        "secret.txt": "secret",
        "styles.csv": '\ufeffname,prompt,negative_prompt\nInk,"ink, {prompt}",photo\nBall,{red|green} ball,\n',
        "models/styles.csv": "name,prompt,negative_prompt\nInk,hidden,\nMore,more,",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    (root / "wildcards" / "broken.txt").write_bytes(b"caf\xe9\n")
    return root / "models"


@pytest.fixture(scope="module")
def pipe(models_dir: Path) -> Pipeline:
    return Pipeline.load("tiny", models_dir=models_dir, device="cpu")


def test_files_are_found_by_their_names(models_dir: Path) -> None:
    cards = Wildcards.beside(models_dir)
    assert sorted(cards.files) == ["animals/cat", "broken", "colour", "place"]
    assert cards.lines("colour") == ("red", "green", "blue")
    assert cards.lines("Animals/cat") == ("a cat",)
    assert cards.lines("place") == ("Köln",)
    assert cards.lines("broken") == ("caf\ufffd",)


@pytest.mark.parametrize(
    "name", ["../secret", "secret", "/etc/passwd", "colour.txt", "animals", "", "animals/../colour"]
)
def test_no_other_file_is_read_whatever_the_name(models_dir: Path, name: str) -> None:
    with pytest.raises(NotFound, match="There is no wildcard file"):
        Wildcards.beside(models_dir).lines(name)


def test_the_nearest_names_are_told(models_dir: Path) -> None:
    with pytest.raises(NotFound) as caught:
        Wildcards.beside(models_dir).lines("colours")
    assert "colour" in caught.value.cure


def test_a_prompt_without_choices_is_left_as_it_is() -> None:
    request = Txt2Img(prompt="a {cat} [b|c] __", negative_prompt="d")
    prompts = PicturePrompts(request, Wildcards(()), Styles(()))
    assert prompts.request_of(3) is request
    assert prompts.labels(3) == {}


def test_each_picture_makes_its_choices_from_its_seed(pipe: Pipeline) -> None:
    fields = {**SIZE, "prompt": "{a|b|c|d} __colour__ ball", "negative_prompt": "{x|y}"}
    images = pipe.generate(Txt2Img(**{**fields, "batch_size": 4})).images
    texts = [parse(image.infotext) for image in images]
    assert len({text.prompt for text in texts}) > 1
    for index, (image, text) in enumerate(zip(images, texts, strict=True)):
        assert text.fields["Template"] == "{a|b|c|d} __colour__ ball"
        assert text.fields["Negative Template"] == "{x|y}"
        (alone,) = pipe.generate(Txt2Img(**{**fields, "seed": 5 + index})).images
        assert parse(alone.infotext).prompt == text.prompt
        (plain,) = pipe.generate(
            Txt2Img(**{**SIZE, "seed": 5 + index, "prompt": text.prompt, "negative_prompt": text.negative_prompt})
        ).images
        assert np.array_equal(np.asarray(plain.image), np.asarray(alone.image))
        assert "Template" not in parse(plain.infotext).fields
        assert image.seed == 5 + index


def test_a_name_without_a_file_fails_the_job_by_name(pipe: Pipeline) -> None:
    with pytest.raises(NotFound, match="nothing"):
        pipe.generate(Txt2Img(**{**SIZE, "prompt": "a __nothing__"}))


def test_styles_are_laid_over_the_prompts_before_choices_are_made(pipe: Pipeline) -> None:
    fields = {**SIZE, "prompt": "a cat", "styles": ("Ink", "Ball")}
    (image,) = pipe.generate(Txt2Img(**fields)).images
    text = parse(image.infotext)
    assert text.prompt in ("ink, a cat, red ball", "ink, a cat, green ball")
    assert text.negative_prompt == "photo"
    assert text.fields["Template"] == "a cat"
    assert text.fields["Styles"] == "Ink, Ball"
    (plain,) = pipe.generate(Txt2Img(**{**SIZE, "prompt": text.prompt, "negative_prompt": "photo"})).images
    assert np.array_equal(np.asarray(plain.image), np.asarray(image.image))


def test_a_style_that_is_not_there_is_told_with_those_that_are(pipe: Pipeline) -> None:
    with pytest.raises(NotFound, match="'Inc'") as caught:
        pipe.generate(Txt2Img(**{**SIZE, "styles": ("Inc",)}))
    assert "Ink, Ball, More" in caught.value.cure


def form_of(text: str) -> Form:
    return read_form(f"{text}, Steps: 2, Sampler: Euler, Seed: 5, RNG: CPU")


def test_a_pictures_text_brings_its_styles_and_what_was_written_back(models_dir: Path) -> None:
    request = Txt2Img(prompt="a\n__colour__ cat", styles=("Ink", "Ball"), seed=5)
    prompts = PicturePrompts(request, Wildcards.beside(models_dir), Styles.beside(models_dir))
    made, written = prompts.request_of(0), write_pairs(prompts.labels(0))
    form = form_of(f"{made.prompt}\nNegative prompt: {made.negative_prompt}\n{written}")
    assert form.values["styles"] == ()
    values = written_form(form, models_dir).values
    assert {name: values[name] for name in ("prompt", "negative_prompt", "styles")} == {
        "prompt": "a\n__colour__ cat", "negative_prompt": "", "styles": ("Ink", "Ball"),
    }  # fmt: skip


@pytest.mark.parametrize("styles", ["Gone", "Ink", '"Ink, Gone"'])
def test_styles_that_are_others_here_leave_the_prompts_as_they_were_made(models_dir: Path, styles: str) -> None:
    form = form_of(f"ink on paper, a cat\nTemplate: a cat, Styles: {styles}")
    read = written_form(form, models_dir)
    assert read.values == form.values
    assert "not here as they were: their words are in the prompts." in read.notes[0]


def test_a_form_without_styles_is_left_as_it_is(models_dir: Path) -> None:
    for form in (form_of("a red cat\nTemplate: a {red|green} cat"), read_form("a cat")):
        assert written_form(form, models_dir) is form
