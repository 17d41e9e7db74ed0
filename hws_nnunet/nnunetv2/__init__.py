"""nnU-Net v2 adapter: the trainer, its data loader, and where they meet the host."""
