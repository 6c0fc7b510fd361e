"""What a training run does besides stepping: averages, checkpoints, pictures, rates, scores."""
