"""Training: what Lightning is told, and alone here. Modules, data modules, callbacks, checkpoints."""
