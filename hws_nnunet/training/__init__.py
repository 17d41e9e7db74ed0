"""What both hosts' trainers share: settings, steps, epochs, losses, checkpoints; knows no host."""
