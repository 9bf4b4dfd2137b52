"""Passes: generators that join text, sampler, U-Net and VAE into pictures. They yield work; the engine does it."""
