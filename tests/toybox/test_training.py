"""The training code on a dozen pictures; batches of two."""

import pytest
import torch
from safetensors.torch import load_file

from models.toybox import train_autoencoder, train_diffusion
from models.toybox.config import PICTURE_SIZE, Runs
from models.toybox.data import open_dataset, render_dataset
from models.toybox.export import CHECKPOINT, tensors_of
from models.toybox.restore import restore
from models.toybox.train_diffusion import encode_dataset, load_vae, mixture, open_latents
from models.toybox.training import load
from models.toybox.world import Person, Thing, scene_of

PICTURES = 12


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run restored from the file that ships, with its pictures encoded."""
    runs = Runs(tmp_path_factory.mktemp("runs"))
    restore(CHECKPOINT, runs)
    render_dataset(runs.data, PICTURES, PICTURE_SIZE, workers=1)
    encode_dataset(open_dataset(runs.data), load_vae(runs.autoencoder), runs.latents, batch=4)
    return runs


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(train_autoencoder, "BATCH", 4)
    monkeypatch.setattr(train_diffusion, "BATCH", 2)


def test_a_restored_run_holds_the_weights_of_the_file(runs):
    shipped, restored = load_file(CHECKPOINT), tensors_of(runs)
    assert set(shipped) == set(restored)
    assert all(torch.equal(shipped[name], restored[name]) for name in shipped)


def test_encoded_pictures_have_variance_1(runs):
    latents = open_latents(runs.latents)
    assert latents.mean.shape == (PICTURES, 4, PICTURE_SIZE // 8, PICTURE_SIZE // 8)
    drawn = latents.sample(torch.arange(PICTURES), torch.randn(latents.mean.shape))
    assert drawn.mean().abs() < 0.02
    assert drawn.var() == pytest.approx(1, abs=0.02)


def test_training_of_the_unet_goes_on_where_it_stopped(runs, tmp_path, monkeypatch):
    whole, parted = fork(runs, tmp_path / "whole"), fork(runs, tmp_path / "parted")
    at_step(whole.diffusion, 98)
    at_step(parted.diffusion, 98)
    train_diffusion.train(whole, 101, 1e-3, 0.5, 0.5)
    stop_at_step(monkeypatch, train_diffusion, 100)  # where a checkpoint is written
    train_diffusion.train(parted, 101, 1e-3, 0.5, 0.5)
    assert load(parted.diffusion)["step"] == 100
    monkeypatch.undo()
    monkeypatch.setattr(train_diffusion, "BATCH", 2)
    train_diffusion.train(parted, 101, 1e-3, 0.5, 0.5)
    assert_same_state(whole.diffusion, parted.diffusion, 101)
    assert not same(load(whole.diffusion)["model"], load(runs.diffusion)["model"])


def test_training_of_the_autoencoder_goes_on_where_it_stopped(runs, tmp_path, monkeypatch):
    whole, parted = fork(runs, tmp_path / "whole"), fork(runs, tmp_path / "parted")
    for each in (whole, parted):
        at_step(each.autoencoder, 499)
    train_autoencoder.train(whole, 501)
    stop_at_step(monkeypatch, train_autoencoder, 500)
    train_autoencoder.train(parted, 501)
    assert load(parted.autoencoder)["step"] == 500
    monkeypatch.undo()
    monkeypatch.setattr(train_autoencoder, "BATCH", 4)
    train_autoencoder.train(parted, 501)
    assert_same_state(whole.autoencoder, parted.autoencoder, 501)
    assert not same(load(whole.autoencoder)["model"], load(runs.autoencoder)["model"])


def test_the_share_of_a_batch_comes_from_scenes_of_one_subject(monkeypatch):
    monkeypatch.setattr(train_diffusion, "BATCH", 20)
    indices = mixture(60, things=0.5, people=0.3).choose(torch.Generator().manual_seed(0)).tolist()
    alone = [scene_of(seed).subjects for seed in indices]
    assert len(indices) == 20
    assert [[type(subject) for subject in subjects] for subjects in alone[:16]] == [[Thing]] * 10 + [[Person]] * 6
    assert any(len(subjects) > 1 for subjects in alone[16:])


def test_a_step_has_the_same_batch_whenever_it_is_made():
    generators = [torch.Generator().manual_seed(7) for _ in range(2)]
    one, two = (mixture(60, 0.5, 0.3).choose(generator) for generator in generators)
    assert torch.equal(one, two)


# --- helpers ---


def fork(runs, folder):
    """Another run with the same pictures and weights."""
    folder.mkdir()
    for path in (runs.data, runs.latents, runs.autoencoder, runs.diffusion):
        (folder / path.name).symlink_to(path)
    return Runs(folder)


def at_step(path, step):
    """Rewrites a checkpoint as one of that step."""
    state = load(path)
    path.unlink()
    torch.save(state | {"step": step}, path)


def stop_at_step(monkeypatch, module, last):
    monkeypatch.setattr(module, "counted", lambda first, steps: range(first, min(last, steps)))


def assert_same_state(one, other, step):
    one, other = load(one), load(other)
    assert one["step"] == other["step"] == step
    assert same(one["model"], other["model"])
    assert same(one["ema"], other["ema"])


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)
