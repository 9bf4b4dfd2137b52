from __future__ import annotations

import subprocess
import sys

import pytest

from webui.diffusion.samplers import SAMPLERS
from webui.schema.names import (
    SAMPLER_BY_LABEL,
    SAMPLER_FACTS,
    SAMPLER_NAMES,
    SCHEDULE_FACTS,
    SCHEDULE_NAMES,
    canonical_sampler,
    canonical_schedule,
    resolve_schedule,
    split_sampler,
)


def test_names_need_no_torch():
    code = "import sys; sys.modules['torch'] = None; import webui.schema.names"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("label", SAMPLER_NAMES)
def test_a_sampler_is_found_by_label_and_alias_in_any_case(label):
    for spelling in (label, label.upper(), label.lower(), f" {label} ", *SAMPLER_BY_LABEL[label].aliases):
        assert canonical_sampler(spelling) == label


@pytest.mark.parametrize("fact", SCHEDULE_FACTS, ids=lambda fact: fact.label)
def test_a_schedule_is_found_by_label_rest_name_and_alias(fact):
    for spelling in (fact.label, fact.label.upper(), fact.name, *fact.aliases):
        assert canonical_schedule(spelling) == fact.label


def test_no_spelling_means_two_samplers():
    spellings = [spelling for fact in SAMPLER_FACTS for spelling in (fact.label.lower(), *fact.aliases)]
    assert len(spellings) == len(set(spellings))
    assert all(spelling == spelling.lower() for spelling in spellings)


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown sampler 'Eular'.*Euler a"):
        canonical_sampler("Eular")
    with pytest.raises(ValueError, match=r"unknown schedule type 'karas'.*Karras"):
        canonical_schedule("karas")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("DPM++ 2M Karras", ("DPM++ 2M", "Karras")),
        ("DPM++ 2M SDE Exponential", ("DPM++ 2M SDE", "Exponential")),
        ("DPM++ 2M SDE Heun Karras", ("DPM++ 2M SDE Heun", "Karras")),
        ("DPM2 a Karras", ("DPM2 a", "Karras")),
        ("k_dpmpp_2m_karras", ("DPM++ 2M", "Karras")),
        ("dpmpp_2m sgm_uniform", ("DPM++ 2M", "SGM Uniform")),
        ("Euler a", ("Euler a", None)),
        ("DDIM", ("DDIM", None)),
    ],
)
def test_an_older_name_is_a_sampler_and_a_schedule(old, new):
    assert split_sampler(old) == new


def test_an_older_name_that_is_unknown_is_refused():
    with pytest.raises(ValueError, match="Foo Karras"):
        split_sampler("Foo Karras")


@pytest.mark.parametrize(
    ("schedule", "samplers"),
    [
        ("Karras", ["DPM++ 2M", "DPM++ SDE", "DPM++ 2S a", "DPM2", "DPM2 a", "Restart"]),
        ("Exponential", ["DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 3M SDE"]),
        ("Uniform", ["Euler", "Euler a", "Heun", "LMS"]),
        ("DDIM", ["DDIM", "DDIM CFG++", "DDPM", "PLMS", "UniPC"]),
    ],
)
def test_automatic_suits_the_sampler(schedule, samplers):
    assert {resolve_schedule(sampler, "Automatic") for sampler in samplers} == {schedule}


def test_a_chosen_schedule_stays():
    assert resolve_schedule("DPM++ 2M", "Beta") == "Beta"


@pytest.mark.parametrize("label", SAMPLER_NAMES)
def test_automatic_never_resolves_to_itself(label):
    assert SAMPLER_BY_LABEL[label].schedule in SCHEDULE_NAMES[1:]


@pytest.mark.parametrize("label", SAMPLER_NAMES)
def test_the_options_a_name_promises_are_those_the_sampler_takes(label):
    info = SAMPLERS[label]
    assert info.options == SAMPLER_BY_LABEL[label].options
    info.run(None, [1.0, 0.0], None, **dict.fromkeys(info.options, 0.5)).close()


def test_png_text_tells_the_eta_of_ddim_from_that_of_the_others():
    assert SAMPLER_BY_LABEL["DDIM"].eta_label == SAMPLER_BY_LABEL["DDIM CFG++"].eta_label == "Eta DDIM"
    assert SAMPLER_BY_LABEL["Euler a"].eta_label == "Eta"


@pytest.mark.parametrize("label", [name for name in SAMPLER_NAMES if "eta" in SAMPLERS[name].options])
def test_the_eta_a_name_promises_is_the_default_of_the_sampler(label):
    assert SAMPLERS[label].function.__defaults__[0] == SAMPLER_BY_LABEL[label].eta
