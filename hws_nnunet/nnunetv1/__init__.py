"""Adapter for nnU-Net v1 (the package ``nnunet``, 1.7.1)."""
