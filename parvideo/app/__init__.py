"""A local page to play with a model: class, seed, guidance, speed; tokens as they fill in, and the clip."""
