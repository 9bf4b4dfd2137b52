"""Toybox as a value: the architecture, and where a training run keeps its files."""

from dataclasses import dataclass
from pathlib import Path

from models.toybox.tokenizer import END, START, WordTokenizer
from webui.nn.config import ModelConfig, ScheduleConfig, TextConfig, UNetConfig, VAEConfig

PICTURE_SIZE = 128
VAE_CONFIG = VAEConfig(channels=24, channel_mult=(1, 2, 3, 4), num_res_blocks=1, norm_groups=4)
UNET_CONFIG = UNetConfig(
    model_channels=64,
    channel_mult=(1, 2),
    num_res_blocks=2,
    transformer_depth=(0, 1),
    context_dim=128,
    num_heads=None,
    head_dim=32,
    norm_groups=8,
)


def model_config(scale_factor: float = 1.0, shift: float = 0.0) -> ModelConfig:
    """Toybox's config, with the latents' measured scale."""
    vocab = WordTokenizer.of_the_world().vocab
    text = TextConfig(
        vocab_size=len(vocab),
        width=UNET_CONFIG.context_dim,
        layers=4,
        heads=4,
        mlp_width=512,
        start_id=vocab[START],
        end_id=vocab[END],
    )
    vae = VAEConfig(**{**vars(VAE_CONFIG), "scale_factor": scale_factor, "shift": shift})
    return ModelConfig("toybox", UNET_CONFIG, vae, (text,), "v", ScheduleConfig(), PICTURE_SIZE)


@dataclass(frozen=True)
class Runs:
    """The folder of a training run."""

    root: Path = Path(__file__).parent / "runs"

    @property
    def data(self) -> Path:
        """Rendered pictures."""
        return self.root / "data"

    @property
    def autoencoder(self) -> Path:
        """Checkpoint of the autoencoder."""
        return self.root / "autoencoder.pt"

    @property
    def latents(self) -> Path:
        """Encoded pictures."""
        return self.root / "latents.safetensors"

    @property
    def text(self) -> Path:
        """The text encoder as it is before it meets the U-Net."""
        return self.root / "text.pt"

    @property
    def diffusion(self) -> Path:
        """Checkpoint of the U-Net and the text encoder."""
        return self.root / "diffusion.pt"

    @property
    def judges(self) -> Path:
        """The classifiers that evaluation asks."""
        return self.root / "judges.pt"

    @property
    def judge_data(self) -> Path:
        """The pictures that they learnt from."""
        return self.root / "judge-data"

    @property
    def depth(self) -> Path:
        """Depth maps of the rendered pictures."""
        return self.root / "depth.npy"

    def control(self, kind: str) -> Path:
        """Checkpoint of a control net."""
        return self.root / f"control-{kind}.pt"

    @property
    def estimator_data(self) -> Path:
        """Depths, joints and worn pictures, from which the estimators learn."""
        return self.root / "estimator-data"

    def estimator(self, name: str) -> Path:
        """Checkpoint of the estimator called "depth" or "pose"."""
        return self.root / f"{name}-estimator.pt"
