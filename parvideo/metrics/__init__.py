"""How good generated clips are: features, FVD, KVD and rFVD under named protocols, and reports of them."""

from parvideo.metrics.classifier import SmallI3DExtractor, train_classifier
from parvideo.metrics.extractors import FeatureExtractor, I3DExtractor
from parvideo.metrics.frechet import FrechetFormula, frechet_distance
from parvideo.metrics.fvd import FrechetResult, FrechetVideoDistance, id_keys
from parvideo.metrics.kernel import kernel_distance
from parvideo.metrics.protocols import PROTOCOLS, Protocol, get_protocol

__all__ = [
    "PROTOCOLS",
    "FeatureExtractor",
    "FrechetFormula",
    "FrechetResult",
    "FrechetVideoDistance",
    "I3DExtractor",
    "Protocol",
    "SmallI3DExtractor",
    "frechet_distance",
    "get_protocol",
    "id_keys",
    "kernel_distance",
    "train_classifier",
]
