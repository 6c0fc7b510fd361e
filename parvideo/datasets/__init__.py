"""From files to clips with labels: reading, transforms, UCF-101, class folders, token shards."""

from parvideo.datasets.cache import build_cache
from parvideo.datasets.clips import ClipDataset, ClipItem, Policy, TooManyUnreadableError
from parvideo.datasets.probing import probe
from parvideo.datasets.reading import Backend, read_frames
from parvideo.datasets.tokens import TokenDataset, TokenItem, TokenManifest, TokenWriter
from parvideo.datasets.transforms import flip_horizontally, resize_and_crop
from parvideo.datasets.video_info import UnreadableVideoError, VideoInfo
from parvideo.datasets.videos import Split, VideoList, VideoRecord, load_videos
from parvideo.datasets.writing import write_avi, write_contact_sheet, write_mp4, write_video

__all__ = [
    "Backend",
    "ClipDataset",
    "ClipItem",
    "Policy",
    "Split",
    "TokenDataset",
    "TokenItem",
    "TokenManifest",
    "TokenWriter",
    "TooManyUnreadableError",
    "UnreadableVideoError",
    "VideoInfo",
    "VideoList",
    "VideoRecord",
    "build_cache",
    "flip_horizontally",
    "load_videos",
    "probe",
    "read_frames",
    "resize_and_crop",
    "write_avi",
    "write_contact_sheet",
    "write_mp4",
    "write_video",
]
