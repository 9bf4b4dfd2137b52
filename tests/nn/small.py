"""The three families, shrunk in width alone: every level, block and transformer is there."""

from dataclasses import replace

from webui.nn.config import SD15, SD21, SDXL, TextConfig, UNetConfig, VAEConfig

SD1_UNET = replace(SD15.unet, model_channels=32, context_dim=24, norm_groups=8)
SD2_UNET = replace(SD21.unet, model_channels=32, context_dim=24, head_dim=8, norm_groups=8)
SDXL_UNET = replace(SDXL.unet, model_channels=32, context_dim=24, head_dim=8, norm_groups=8, adm_channels=40)
UNETS: dict[str, UNetConfig] = {"sd1": SD1_UNET, "sd2": SD2_UNET, "sdxl": SDXL_UNET}

VAE = VAEConfig(channels=16, norm_groups=4)

TEXT_VOCABULARY = {"vocab_size": 60, "start_id": 58, "end_id": 59}
_TEXT_WIDTH = {"width": 32, "heads": 4, "mlp_width": 128, **TEXT_VOCABULARY}
TEXTS: dict[str, TextConfig] = {
    "sd1": replace(SD15.texts[0], **_TEXT_WIDTH),
    "sd2": replace(SD21.texts[0], **_TEXT_WIDTH),
    "sdxl clip_l": replace(SDXL.texts[0], **_TEXT_WIDTH),
    "sdxl openclip": replace(SDXL.texts[1], **_TEXT_WIDTH, projection=48),
}
