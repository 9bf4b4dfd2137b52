"""From the words of a prompt to what conditions the U-Net."""
