"""What any PyTorch loop uses: a batch sampler, per-sample losses, and several processes."""
