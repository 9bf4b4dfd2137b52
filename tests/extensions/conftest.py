"""Bundled extensions in an engine of this process, on a tiny random model."""

from __future__ import annotations

import shutil

from tests.ext.conftest import kept_models as kept_models
from tests.ext.conftest import studio as studio
from tests.ext.conftest import tiny_models as tiny_models
from tests.ext.studio import Studio
from tests.extensions.support import ROOT


def bundle(studio: Studio, id: str) -> Studio:
    """The studio, with a bundled extension switched on."""
    shutil.copytree(ROOT / id, studio.folder / id, ignore=shutil.ignore_patterns("__pycache__"))
    studio.state.enable(id, allow=True)
    studio.engine.refresh([id])
    return studio
