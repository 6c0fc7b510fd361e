"""Everything, small, in minutes: train, sample, score, and a page to look at."""
