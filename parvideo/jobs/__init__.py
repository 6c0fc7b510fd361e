"""Long work over many clips: shared over devices, and going on where it stopped."""
