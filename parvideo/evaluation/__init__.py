"""What makes two FVD numbers comparable: protocols, sources of clips, stored features, reports."""

from parvideo.evaluation.protocols import PROTOCOLS, Protocol, get_protocol

__all__ = ["PROTOCOLS", "Protocol", "get_protocol"]
