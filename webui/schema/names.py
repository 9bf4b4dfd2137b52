"""Names of samplers and schedule types as users know them, and what each name brings along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

Emphasis = Literal["Original", "No norm", "Ignore", "None"]
"""What attention does. Original: it scales, and the mean is restored; No norm: it scales alone; Ignore: brackets are
read and do nothing; None: brackets and BREAK are letters."""
EMPHASES: Final[tuple[str, ...]] = get_args(Emphasis)
PreviewMethod = Literal["auto", "tiny", "linear", "none"]
"""What shows a picture while it is drawn. tiny: a tiny autoencoder; linear: a map of colours; auto: the former where
one is at hand, else the latter."""
PREVIEW_METHODS: Final[tuple[str, ...]] = get_args(PreviewMethod)
CHURN: Final = ("s_churn", "s_tmin", "s_tmax", "s_noise")
ANCESTRAL: Final = ("eta", "s_noise")


@dataclass(frozen=True)
class SamplerName:
    """A sampler as requests, PNG text and REST name it.

    aliases: other spellings, lower case. schedule: what the schedule type Automatic means for it.
    options: which of eta, s_churn, s_tmin, s_tmax, s_noise it takes.
    eta: its own value where the request leaves eta empty.
    """

    label: str
    aliases: tuple[str, ...]
    schedule: str = "Uniform"
    options: tuple[str, ...] = ()
    eta: float = 1.0

    @property
    def eta_label(self) -> str:
        """Under which name PNG text holds the eta of this sampler."""
        return "Eta DDIM" if self.eta == 0 else "Eta"


@dataclass(frozen=True)
class ScheduleName:
    """A schedule type: label, the name REST uses, further spellings, and its own rho where it has one."""

    label: str
    name: str
    aliases: tuple[str, ...] = ()
    rho: float | None = None


SAMPLER_FACTS: Final = (
    SamplerName("DPM++ 2M", ("k_dpmpp_2m", "dpmpp_2m"), "Karras"),
    SamplerName("DPM++ SDE", ("k_dpmpp_sde", "dpmpp_sde", "dpmpp_sde_gpu"), "Karras", ANCESTRAL),
    SamplerName("DPM++ 2M SDE", ("k_dpmpp_2m_sde", "dpmpp_2m_sde", "dpmpp_2m_sde_gpu"), "Exponential", ANCESTRAL),
    SamplerName("DPM++ 2M SDE Heun", ("k_dpmpp_2m_sde_heun", "dpmpp_2m_sde_heun"), "Exponential", ANCESTRAL),
    SamplerName("DPM++ 2S a", ("k_dpmpp_2s_a", "dpmpp_2s_ancestral", "dpmpp_2s"), "Karras", ANCESTRAL),
    SamplerName("DPM++ 3M SDE", ("k_dpmpp_3m_sde", "dpmpp_3m_sde", "dpmpp_3m_sde_gpu"), "Exponential", ANCESTRAL),
    SamplerName("Euler a", ("k_euler_a", "k_euler_ancestral", "euler_a", "euler_ancestral"), options=ANCESTRAL),
    SamplerName("Euler", ("k_euler",), options=CHURN),
    SamplerName("LMS", ("k_lms",)),
    SamplerName("Heun", ("k_heun",), options=CHURN),
    SamplerName("DPM2", ("k_dpm_2", "dpm_2"), "Karras", CHURN),
    SamplerName("DPM2 a", ("k_dpm_2_a", "dpm_2_a", "dpm_2_ancestral"), "Karras", ANCESTRAL),
    SamplerName("DPM fast", ("k_dpm_fast", "dpm_fast"), options=ANCESTRAL),
    SamplerName("DPM adaptive", ("k_dpm_ad", "dpm_adaptive"), options=ANCESTRAL),
    SamplerName("Restart", (), "Karras", ("s_noise",)),
    SamplerName("DDIM", ("k_ddim",), "DDIM", ("eta",), eta=0.0),
    SamplerName("DDIM CFG++", ("ddim_cfgpp", "ddim_cfg_pp"), "DDIM", ("eta",), eta=0.0),
    SamplerName("DDPM", ("k_ddpm",), "DDIM"),
    SamplerName("PLMS", ("k_plms", "pndm"), "DDIM"),
    SamplerName("UniPC", ("k_unipc", "uni_pc", "uni_pc_bh1"), "DDIM"),
    SamplerName("LCM", ("k_lcm",), "SGM Uniform"),
    SamplerName("Euler CFG++", ("euler_cfgpp", "euler_cfg_pp", "k_euler_cfgpp"), options=CHURN),
    SamplerName("HeunPP2", ("k_heunpp2",), options=CHURN),
    SamplerName("IPNDM", ("k_ipndm",)),
    SamplerName("IPNDM_V", ("k_ipndm_v",)),
    SamplerName("DEIS", ("k_deis", "deis_2m")),
)

SCHEDULE_FACTS: Final = (
    ScheduleName("Automatic", "automatic"),
    ScheduleName("Uniform", "uniform"),
    ScheduleName("Karras", "karras", rho=7.0),
    ScheduleName("Exponential", "exponential"),
    ScheduleName("Polyexponential", "polyexponential", rho=1.0),
    ScheduleName("SGM Uniform", "sgm_uniform", ("sgmuniform",)),
    ScheduleName("KL Optimal", "kl_optimal"),
    ScheduleName("Align Your Steps", "align_your_steps", ("ays",)),
    ScheduleName("Simple", "simple"),
    ScheduleName("Normal", "normal"),
    ScheduleName("DDIM", "ddim", ("ddim_uniform",)),
    ScheduleName("Beta", "beta"),
    ScheduleName("Turbo", "turbo"),
)

SAMPLER_NAMES: Final = tuple(sampler.label for sampler in SAMPLER_FACTS)
SCHEDULE_NAMES: Final = tuple(schedule.label for schedule in SCHEDULE_FACTS)
SAMPLER_BY_LABEL: Final[Mapping[str, SamplerName]] = {sampler.label: sampler for sampler in SAMPLER_FACTS}

_SAMPLER_SPELLINGS: Final[Mapping[str, str]] = {
    spelling: sampler.label for sampler in SAMPLER_FACTS for spelling in (sampler.label.lower(), *sampler.aliases)
}
_SCHEDULE_SPELLINGS: Final[Mapping[str, str]] = {
    spelling: schedule.label
    for schedule in SCHEDULE_FACTS
    for spelling in (schedule.label.lower(), schedule.name, *schedule.aliases)
}


def canonical_sampler(name: str) -> str:
    """A label or alias in any case -> the label. Raises ValueError that lists the labels."""
    try:
        return _SAMPLER_SPELLINGS[name.strip().lower()]
    except KeyError:
        raise ValueError(f"unknown sampler {name!r}; choose one of: {', '.join(SAMPLER_NAMES)}") from None


def canonical_schedule(name: str) -> str:
    """A label or alias in any case -> the label. Raises ValueError that lists the labels."""
    try:
        return _SCHEDULE_SPELLINGS[name.strip().lower()]
    except KeyError:
        raise ValueError(f"unknown schedule type {name!r}; choose one of: {', '.join(SCHEDULE_NAMES)}") from None


def split_sampler(name: str) -> tuple[str, str | None]:
    """An older "Sampler" of PNG text, such as "DPM++ 2M Karras" -> ("DPM++ 2M", "Karras"); no schedule -> None.

    Raises ValueError for an unknown sampler.
    """
    spelling = name.strip().lower()
    if spelling not in _SAMPLER_SPELLINGS:
        for ending, schedule in _SCHEDULE_SPELLINGS.items():
            for separator in (" ", "_"):
                sampler = spelling.removesuffix(separator + ending)
                if sampler != spelling and sampler in _SAMPLER_SPELLINGS:
                    return _SAMPLER_SPELLINGS[sampler], schedule
    return canonical_sampler(name), None


def resolve_schedule(sampler: str, schedule: str) -> str:
    """Labels of a sampler and of a schedule type -> the label of the schedule that Automatic stands for there."""
    return SAMPLER_BY_LABEL[sampler].schedule if schedule == "Automatic" else schedule
