"""Which words hold at which step of which pass, and what the U-Net is shown of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.pipeline.test_passes import MODEL, REF, Model, noise_picture
from webui.diffusion.denoiser import Cond
from webui.diffusion.noise import NoiseSource
from webui.diffusion.types import Eval
from webui.pipeline.img2img import img2img
from webui.pipeline.texts import PassTexts, clock_of, prompt_notes, wanted_texts
from webui.pipeline.txt2img import txt2img
from webui.pipeline.work import Denoise, EncodeText, Networks, Texts
from webui.prompt.schedule import Clock
from webui.prompt.tags import split_tags
from webui.schema.names import SAMPLER_NAMES
from webui.schema.requests import Img2Img, Request, Txt2Img


class Reader(Model):
    """Remembers which words each evaluation was guided by: the tensors of conds are numbered texts."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []

    def text(self, item: EncodeText) -> Texts:
        return Texts(tuple((self.cond(text), weight) for text, weight in item.prompts), self.cond(item.negative_prompt))

    def cond(self, text: str) -> Cond:
        self.words.append(text)
        return Cond(torch.full((1, 1), len(self.words) - 1.0))

    def shown(self, part: int = 0) -> list[tuple[int, str]]:
        """(solver step, words) of each evaluation of a pass: prompts with their weights, then the negative."""
        denoise = [item for item in self.asked if isinstance(item, Denoise) and item.part == part]
        return [(item.eval.step, self.said(item)) for item in denoise]

    def said(self, item: Denoise) -> str:
        prompts = " & ".join(f"{self.word(cond)}*{weight:g}" for cond, weight in item.guidance.conds)
        return f"{prompts} - {self.word(item.guidance.uncond)}"

    def word(self, cond: Cond) -> str:
        return self.words[int(cond.context)]


def drawn(**fields: Any) -> Reader:
    reader = Reader()
    request = Txt2Img(**{"width": 64, "height": 64, "sampler": "Euler", "steps": 4, **fields})
    reader.picture(txt2img(request, MODEL, NoiseSource(1)))
    return reader


def test_a_prompt_that_stays_is_encoded_once_and_sent_with_every_step() -> None:
    reader = drawn(prompt="a (cat:1.2) <lora:x:1>", negative_prompt="dog")
    asked = [item for item in reader.asked if isinstance(item, EncodeText)]
    networks = Networks(split_tags("<lora:x:1>")[1], Clock(4), Clock(4))
    assert asked == [EncodeText((("a (cat:1.2) ", 1.0),), "dog", 1, 64, 64, networks=networks)]
    guidances = {id(item.guidance) for item in reader.asked if isinstance(item, Denoise)}
    assert len(guidances) == 1


def test_words_change_after_their_steps() -> None:
    reader = drawn(prompt="[a:b:0.5]", negative_prompt="[c|d]")
    assert reader.shown() == [(0, "a*1 - c"), (1, "a*1 - d"), (2, "b*1 - c"), (3, "b*1 - d")]
    reader = drawn(prompt="[a|b]")
    assert len([item for item in reader.asked if isinstance(item, EncodeText)]) == 2


def test_the_parts_of_and_are_sent_with_their_weights() -> None:
    assert drawn(prompt="[a:b:1] AND c:0.5", negative_prompt="d").shown() == [
        (0, "a*1 & c*0.5 - d"), (1, "b*1 & c*0.5 - d"), (2, "b*1 & c*0.5 - d"), (3, "b*1 & c*0.5 - d"),
    ]  # fmt: skip


@pytest.mark.parametrize("sampler", [name for name in SAMPLER_NAMES if name != "DPM adaptive"])
def test_all_evaluations_of_a_solver_step_have_the_words_of_the_step(sampler: str) -> None:
    shown = drawn(prompt="[a|b]", sampler=sampler, steps=6).shown()
    assert {step for step, _ in shown} == set(range(max(step for step, _ in shown) + 1))
    assert all(words == ("a*1 - " if step % 2 == 0 else "b*1 - ") for step, words in shown)


def test_an_adaptive_sampler_changes_with_its_share_of_the_way() -> None:
    texts = PassTexts((), (0, 0, 1, 2))
    points = [(0.0, 0), (0.49, 0), (0.5, 1), (0.8, 2), (1.0, 2)]
    assert [texts.index(Eval(torch.zeros(1), 1.0, 99, way)) for way, _ in points] == [found for _, found in points]


def test_each_pass_has_its_own_steps() -> None:
    fields = {"enable_hr": True, "hr_steps": 4, "denoising_strength": 0.5, "hr_upscaler": "Latent"}
    reader = drawn(prompt="[a:b:0.5][c:d:1.5] [e:f:5]", **fields)
    assert [words.split("*")[0] for _, words in reader.shown()] == ["ac e", "ac e", "bc e", "bc e"]
    assert [words.split("*")[0] for _, words in reader.shown(1)] == ["bc e", "bd f", "bd f"]


def test_a_pass_over_a_picture_counts_the_steps_that_it_runs() -> None:
    request = Img2Img(init_image=REF, prompt="[a:b:0.5]", sampler="Euler", steps=8, denoising_strength=0.4)
    reader = Reader()
    reader.picture(img2img(request, MODEL, NoiseSource(1), noise_picture(64, 64)))
    assert reader.shown() == [(0, "a*1 - "), (1, "a*1 - "), (2, "b*1 - "), (3, "b*1 - ")]


def test_the_same_words_at_other_steps_are_one_text() -> None:
    texts, order = wanted_texts(Txt2Img(prompt="[a|b] [c:2]"), 64, 64, Clock(5))
    assert [text.prompts[0][0] for text in texts] == ["a ", "b ", "a c", "b c"]
    assert order == (0, 1, 2, 3, 2)


@pytest.mark.parametrize(
    ("asked", "clock"),
    [
        (Txt2Img(steps=20), Clock(20)),
        (Img2Img(init_image=REF, steps=20, denoising_strength=0.5), Clock(11)),
    ],
)
def test_a_clock_has_the_steps_of_its_pass(asked: Request, clock: Clock) -> None:
    assert clock_of(asked) == clock


def test_notes_know_how_many_steps_there_are() -> None:
    base = Txt2Img(prompt="[blurry:1.3]", negative_prompt="a AND b", steps=20)
    late, word = prompt_notes(base)
    assert "never in this picture" in late
    assert "AND has no effect" in word
    assert prompt_notes(base.model_copy(update={"enable_hr": True})) == (word,)


def hires_notes(prompt: str, hr_prompt: str) -> tuple[str, ...]:
    return prompt_notes(Txt2Img(prompt=prompt, hr_prompt=hr_prompt, steps=20, enable_hr=True))


def test_a_prompt_that_holds_in_the_hires_pass_alone_is_told_what_lies_outside_of_it() -> None:
    (late,) = hires_notes("[a:b:1.3]", "c")
    assert "never in this picture" in late
    assert "changes before the hires pass" in hires_notes("a", "[a:b:0.3]")[0]
    assert "numbers beyond the first pass's steps" in hires_notes("a", "[a:b:19]")[0]
    assert "never in this picture" in hires_notes("a", "[a:b:2.0]")[0]
    assert hires_notes("[a:b:0.3]", "[a:b:1.3] [c:25]") == ()


def test_networks_that_a_hires_prompt_does_not_name_are_told() -> None:
    (note,) = hires_notes("<lora:x:1> a", "a")
    assert "names no networks" in note
    assert hires_notes("<lora:x:1> a", "<lora:y:1> a") == hires_notes("<lora:x:1> a", "") == ()


def test_the_hires_pass_is_shown_its_own_words() -> None:
    own = {"hr_prompt": "c", "hr_negative_prompt": "d", "denoising_strength": 1.0}
    reader = drawn(prompt="a", negative_prompt="b", enable_hr=True, **own)
    assert {words for _, words in reader.shown(0)} == {"a*1 - b"}
    assert {words for _, words in reader.shown(1)} == {"c*1 - d"}
