"""How good generated clips are: I3D features, FVD, KVD, named protocols, reports."""
