"""Weights on disk: model folders of our own, and published weights read into our modules."""
