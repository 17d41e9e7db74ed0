"""Hardness weighted sampling for nnU-Net."""
