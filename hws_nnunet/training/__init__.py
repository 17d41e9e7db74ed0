"""What trainings share: batches for any loop; of both hosts' trainers, settings, steps, epochs, losses, checkpoints."""
