"""`python -m models.toybox render --count 32000` draws the training pictures.

The later steps are modules of their own: train_autoencoder, train_diffusion, export, sample, evaluate.
"""

import argparse
from pathlib import Path

from models.toybox.config import PICTURE_SIZE, Runs
from models.toybox.data import render_dataset


def main() -> None:
    """Renders the training set into the folder of the run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["render"])
    parser.add_argument("--runs", type=Path, default=Runs().root)
    parser.add_argument("--count", type=int, default=32000)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    render_dataset(Runs(options.runs).data, options.count, PICTURE_SIZE, options.workers)


if __name__ == "__main__":
    main()
