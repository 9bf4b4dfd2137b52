"""The networks: U-Net, autoencoder and text encoders, each built from a value of `config`."""
