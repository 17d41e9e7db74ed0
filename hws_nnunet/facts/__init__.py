"""Facts about nnU-Net, each in one place: what its two versions call things, and how its files are read."""
