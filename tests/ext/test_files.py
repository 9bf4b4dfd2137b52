"""What extensions load is kept from question to question, and off the device meanwhile."""

from __future__ import annotations

from tests.ext.studio import Studio
from webui.engine.models import Models

CODE = """
import torch

made, places = [], []

class Net(torch.nn.Linear):
    def to(self, place):
        places.append(str(place))
        return self

def load():
    made.append(Net(1, 1))
    return made[-1]

def plain(image, *, ctx):
    {change}
    ctx.load("net", load).to("here")
    return image

other = plain
"""
HOOK = """
def on_image(img):
    img.job.models.load("net", load).to("here")
"""
TABLES = "".join(
    f'[[preprocessor]]\nid = "{id}"\nentry = "main:{id}"\nresolution = false\n' for id in ("plain", "other")
)


def test_what_a_question_loads_is_there_for_the_next_one_also_before_a_checkpoint_is(studio: Studio) -> None:
    studio.add("mapper", CODE.format(change="pass"), tables=TABLES)
    studio.engine.models = Models(studio.engine.models.catalogue, studio.engine.models.placement)
    for preprocessor in ("plain", "other"):
        answers = studio.ask(preprocessor)
        studio.engine.answer_waiting()
        assert [answer.error for answer in answers] == [None]
    assert len(studio.service("mapper", "made")) == 1
    assert studio.service("mapper", "places") == ["here", "cpu", "here", "cpu"]


def test_what_a_hook_loads_is_off_the_device_when_its_job_has_ended(studio: Studio) -> None:
    studio.add("judge", CODE.format(change="pass") + HOOK, "on_image")
    assert len(studio.draw(n_iter=2)) == 2
    assert len(studio.service("judge", "made")) == 1
    assert studio.service("judge", "places") == ["here", "here", "cpu"]


def test_what_is_kept_goes_when_something_was_left_behind(studio: Studio) -> None:
    studio.add("mapper", CODE.format(change="torch.set_default_dtype(torch.float64)"), tables=TABLES)
    studio.ask("plain")
    studio.engine.answer_waiting()
    assert studio.restarts == ['torch\'s default dtype was changed, by the extension "mapper"']
    assert studio.engine.extensions.model_files("mapper").load("net", lambda: "anew") == "anew"
