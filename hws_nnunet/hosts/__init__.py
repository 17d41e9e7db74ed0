"""What both versions of nnU-Net share: facts about them, steps, epochs, losses and checkpoints of their trainers."""
