"""Full-size checkpoints of every family in both layouts, through the normal path, against diffusers.

One family and one library at a time, each in a process of its own. SDXL wants 12 GB of memory and 14 GB of disk.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.nn.weights import relative_error
from tests.published import PUBLISHED

ROOT = Path(__file__).parents[2]
TOLERANCE = 1e-4


def run(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "tests.parity.full_size", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_full_size_checkpoint_agrees_with_diffusers_in_both_layouts(name: str, tmp_path: Path) -> None:
    single, folder = tmp_path / f"{name}.safetensors", tmp_path / name
    try:
        run("write", name, tmp_path)
        run("ours", name, single, tmp_path / "single.answers")
        run("ours", name, folder, tmp_path / "folder.answers")
        run("theirs", name, folder, tmp_path / "their.answers")
        expected = load_file(tmp_path / "their.answers")
        for layout in ("single", "folder"):
            answers = load_file(tmp_path / f"{layout}.answers")
            assert answers.keys() == expected.keys()
            errors = {part: relative_error(answer, expected[part]) for part, answer in answers.items()}
            print(name, layout, {part: f"{error:.1e}" for part, error in errors.items()})
            assert max(errors.values()) < TOLERANCE, (layout, errors)
            assert all(answer.std() > 0.01 for answer in answers.values())
    finally:
        for file in sorted(tmp_path.rglob("*.safetensors")):
            file.unlink()
