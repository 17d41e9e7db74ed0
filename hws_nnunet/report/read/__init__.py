"""Results from files that anyone made: summaries of nnU-Net, tables, label maps."""
