"""What is fixed when the server starts."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from webui.checkpoints.places import Extra, Places
from webui.ext.discover import HOME


class Settings(BaseModel):
    """Where things live, and the limits of the queue.

    models_dir: holds Stable-diffusion/ and its sisters; extra: further places of models. output_dir: pictures made;
    data_dir: the program's own data.
    default_model: what a request without a model means; empty: `FIRST_CHOICE` where it is there, else the first usable.
    extensions_dirs: folders whose subfolders are extensions; locked: nothing of extensions may be changed from here.
    exposed: others than this machine's users can reach the server; offline: nothing is asked of the network.
    hashing: whether all model files are read in the background for their sha256.
    max_queued, max_queued_per_owner: how many jobs may wait, in all and of one owner.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    models_dir: Path = Path("models")
    extra: Extra = Field(default_factory=Extra)
    output_dir: Path = Path("outputs")
    data_dir: Path = Path("data")
    device: str = "auto"
    dtype: str = "auto"
    default_model: str = ""
    extensions_dirs: tuple[Path, ...] = (HOME,)
    extensions_locked: bool = False
    exposed: bool = False
    offline: bool = False
    hashing: bool = True
    max_queued: int = Field(500, ge=1)
    max_queued_per_owner: int = Field(200, ge=1)

    @property
    def places(self) -> Places:
        """Where models lie."""
        return Places(self.models_dir, self.extra)

    @property
    def inputs_dir(self) -> Path:
        """Pictures that requests start from."""
        return self.data_dir / "inputs"

    @property
    def database(self) -> Path:
        """Records of jobs and pictures."""
        return self.data_dir / "atelier.db"
