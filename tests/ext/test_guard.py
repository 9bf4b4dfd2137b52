"""What the program and its libraries do to themselves is no leak of an extension."""

from __future__ import annotations

import subprocess
import sys

CODE = """
from webui.ext.guard import ProcessPrint
before = ProcessPrint.now()
from transformers import CLIPModel
from transformers.generation import continuous_batching
print(before.replaced_functions(), before.changed_settings())
"""


def test_reading_a_first_model_within_a_job_of_an_extension_is_no_leak():
    """In a fresh process: transformers brings torch's compiler, which wraps a function of torch."""
    run = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[] []"
