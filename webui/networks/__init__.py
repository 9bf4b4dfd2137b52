"""Networks that change a checkpoint's weights (LoRA and its kin), and embeddings: files, names, and their use."""
