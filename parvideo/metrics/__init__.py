"""How good generated clips are: features, FVD, KVD, rFVD, and how well a tokenizer reconstructs."""

from parvideo.metrics.extractors.i3d import FeatureExtractor, I3DExtractor
from parvideo.metrics.extractors.small_i3d import SmallI3DExtractor, train_classifier
from parvideo.metrics.frechet import FrechetFormula, frechet_distance
from parvideo.metrics.fvd import FrechetResult, FrechetVideoDistance, id_keys
from parvideo.metrics.kvd import kernel_distance

__all__ = [
    "FeatureExtractor",
    "FrechetFormula",
    "FrechetResult",
    "FrechetVideoDistance",
    "I3DExtractor",
    "SmallI3DExtractor",
    "frechet_distance",
    "id_keys",
    "kernel_distance",
    "train_classifier",
]
