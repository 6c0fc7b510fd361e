"""The same tokens as `parvideo.sampling.generate`, near the machine's limit."""
