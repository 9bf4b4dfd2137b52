"""How long the map of a control unit takes to come while a long job runs: `python -m benchmarks.preview`."""

from __future__ import annotations

import argparse
import base64
import io
import statistics
import tempfile
import time
from pathlib import Path

import httpx
from PIL import Image

from docs.screenshot import serving

SIDE = 512
LONG = {"kind": "txt2img", "prompt": "a big red ball", "steps": 1000, "width": 192, "height": 192, "batch_size": 4}


def main() -> None:
    """Prints a table as Markdown. The first map of each kind also reads its network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preprocessors", nargs="+", default=["canny", "toybox_depth", "toybox_pose"])
    parser.add_argument("--repeats", type=int, default=10)
    options = parser.parse_args()
    print("| preprocessor | first | median of the next | longest of them |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as url:
        client = httpx.Client(base_url=url, timeout=120)
        job = client.post("/api/v1/jobs", json=LONG).raise_for_status().json()["id"]
        while client.get(f"/api/v1/jobs/{job}").json()["step"] < 1:
            time.sleep(0.2)
        for name in options.preprocessors:
            first, *rest = (seconds(client, name) for _ in range(options.repeats + 1))
            print(f"| {name} | {first:.2f} s | {statistics.median(rest):.2f} s | {max(rest):.2f} s |", flush=True)
        assert client.get(f"/api/v1/jobs/{job}").json()["state"] == "running", "the job ended before the measurement"


def seconds(client: httpx.Client, preprocessor: str) -> float:
    """From the question to the map."""
    file = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE), "teal").save(file, "PNG")
    body = {"id": preprocessor, "image": base64.b64encode(file.getvalue()).decode()}
    began = time.monotonic()
    client.post("/api/v1/preprocess", json=body).raise_for_status()
    return time.monotonic() - began


if __name__ == "__main__":
    main()
