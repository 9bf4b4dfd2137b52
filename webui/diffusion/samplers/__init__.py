"""The samplers, one generator per image, and the table of them.

How the papers' latents map to ours: the DDPM family works on z = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) eps. Here
x = z / sqrt(alpha_bar) = z * sqrt(1 + sigma^2) with sigma = sqrt((1 - alpha_bar) / alpha_bar), so x = x0 + sigma eps,
and every sampler walks over sigmas; those of the schedules DDIM, Simple and Turbo are the model's own timesteps.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from webui.diffusion.samplers import ddpm, dpm, dpmpp, euler, multistep, unipc
from webui.diffusion.types import Sampler, SamplerInfo
from webui.schema.names import SAMPLER_BY_LABEL


def _info(label: str, function: Sampler, **facts: Any) -> SamplerInfo:
    return SamplerInfo(label, function, SAMPLER_BY_LABEL[label].options, **facts)


# CFG++ interpolates by 0..1 where CFG extrapolates by 1..; a twelfth keeps the usual scale of 7 in its place
_CFGPP: Final = MappingProxyType({"needs_uncond": True, "cfg_multiplier": 1 / 12.5})

SAMPLERS: Final[Mapping[str, SamplerInfo]] = {
    info.label: info
    for info in (
        _info("DPM++ 2M", dpmpp.dpmpp_2m),
        _info("DPM++ SDE", dpmpp.dpmpp_sde, noise="brownian", stochastic=True, evals_per_step=2),
        _info("DPM++ 2M SDE", dpmpp.dpmpp_2m_sde, noise="brownian", stochastic=True),
        _info("DPM++ 2M SDE Heun", dpmpp.dpmpp_2m_sde, noise="brownian", stochastic=True, fixed={"heun": True}),
        _info("DPM++ 2S a", dpmpp.dpmpp_2s_ancestral, stochastic=True, evals_per_step=2),
        _info("DPM++ 3M SDE", dpmpp.dpmpp_3m_sde, noise="brownian", stochastic=True, discard_penultimate=True),
        _info("Euler a", euler.euler_ancestral, stochastic=True),
        _info("Euler", euler.euler),
        _info("LMS", multistep.lms),
        _info("Heun", euler.heun, evals_per_step=2),
        _info("DPM2", dpm.dpm_2, evals_per_step=2, discard_penultimate=True),
        _info("DPM2 a", dpm.dpm_2_ancestral, stochastic=True, evals_per_step=2, discard_penultimate=True),
        _info("DPM fast", dpm.dpm_fast, stochastic=True, ends_only=True),
        _info("DPM adaptive", dpm.dpm_adaptive, stochastic=True, evals_per_step=3, ends_only=True, adaptive=True),
        _info("Restart", euler.restart, stochastic=True, evals_per_step=2),
        _info("DDIM", ddpm.ddim, timestep_based=True),
        _info("DDIM CFG++", ddpm.ddim_cfgpp, timestep_based=True, **_CFGPP),
        _info("DDPM", ddpm.ddpm, stochastic=True, timestep_based=True),
        _info("PLMS", multistep.plms, timestep_based=True),
        _info("UniPC", unipc.unipc, timestep_based=True),
        _info("LCM", ddpm.lcm, stochastic=True),
        _info("Euler CFG++", euler.euler_cfgpp, **_CFGPP),
        _info("HeunPP2", euler.heunpp2, evals_per_step=3),
        _info("IPNDM", multistep.ipndm),
        _info("IPNDM_V", multistep.ipndm_v),
        _info("DEIS", multistep.deis),
    )
}
