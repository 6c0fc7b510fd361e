"""What `parvideo evaluate` is asked to score, and the clip sources that follow from it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parvideo.jobs.generation_options import GenerationOptions

if TYPE_CHECKING:
    import torch

    from parvideo.datasets import VideoInfo, VideoList
    from parvideo.evaluation.feature_store import FeatureSet
    from parvideo.evaluation.protocols import Protocol
    from parvideo.evaluation.sources import ClipSource, RealClips
    from parvideo.pipeline import VideoPipeline


@dataclass
class ScoringRequest:
    """What is to be scored, as asked for on the command line; what that takes is loaded once.

    Attributes:
        videos: the real ones.
        model, clips, tokenizer: one of them is not None.
        allow_lossy: whether clips may be compressed video.
        workers: processes that read videos.
        generation: how the model generates.
        device: where.
    """

    videos: "VideoList"
    model: Path | None
    clips: Path | None
    tokenizer: Path | None
    allow_lossy: bool
    workers: int
    generation: GenerationOptions
    device: "torch.device"
    _infos: "dict[str, VideoInfo] | None" = None

    def real_clips(self, protocol: "Protocol", repeat: int) -> "RealClips":
        """The real clips of a repetition."""
        from parvideo.evaluation.sources import RealClips

        source = RealClips(self.videos, protocol, repeat, self.workers, self._infos)
        self._infos = source.infos
        return source

    def held_out_clips(self, videos: "VideoList", protocol: "Protocol") -> "RealClips":
        """The clips of other videos, which the model never saw."""
        from parvideo.evaluation.sources import RealClips

        return RealClips(videos, protocol, 0, self.workers)

    def check_form(self, protocol: "Protocol", source: "RealClips") -> list[str]:
        """Refuse clips of another frame rate, size or list of classes than the real ones.

        Before anything is computed, and by what the folders say of themselves.

        Returns:
            Notes for the report: what they do not say.

        Raises:
            ValueError: naming what differs.
        """
        from parvideo.evaluation.clip_formats import check_class_names, check_form, read_form, recorded_form
        from parvideo.evaluation.sources import SavedClips
        from parvideo.pretrained.folder import load_class_names

        recorded: dict[str, Any]
        if self.clips is not None:
            SavedClips(self.clips, self.allow_lossy, len(source.class_names))  # each file's shape and labels
            recorded, what = read_form(self.clips), str(self.clips)
        else:
            folder = self.model or self.tokenizer
            assert folder is not None
            recorded, what = recorded_form(folder), str(folder)
            if self.model is not None and not self.generation.unconditional:
                recorded["class_names"] = load_class_names(self.model)
        check_class_names(recorded.get("class_names"), source.class_names, what)
        rates = [info.fps for info in source.infos.values()]
        return check_form(recorded, protocol, rates, what)

    def fake_clips(
        self, protocol: "Protocol", repeat: int, source: "RealClips", real: "FeatureSet"
    ) -> "ClipSource":
        """The clips that are scored against them."""
        from dataclasses import replace

        from parvideo.evaluation import sources as clip_sources
        from parvideo.pretrained.folder import load_tokenizer

        if self.clips is not None:
            return clip_sources.SavedClips(self.clips, self.allow_lossy, len(source.class_names))
        if self.tokenizer is not None:
            network = load_tokenizer(self.tokenizer, self.device)
            return clip_sources.ReconstructedClips(source, network, self.tokenizer)
        assert self.model is not None
        pipeline, options = self._pipeline, self.generation
        classes = len(pipeline.class_names)
        if options.unconditional:
            labels = [classes] * protocol.fake_count
        elif protocol.label_policy == "copy-real":
            labels = clip_sources.copied_labels(real, protocol.fake_count, protocol.clip_seed)
        else:
            labels = clip_sources.uniform_labels(protocol.fake_count, classes)
        return clip_sources.GeneratedClips(
            pipeline,
            labels,
            replace(options.config(), seed=options.seed + repeat),
            self.model,
            options.latent_frames,
            options.overlap,
            self._models,
            options.prepare(pipeline),
        )

    @cached_property
    def _pipeline(self) -> "VideoPipeline":
        from parvideo.pipeline import VideoPipeline

        assert self.model is not None
        return VideoPipeline.from_pretrained(self.model, self.device)

    @cached_property
    def _models(self) -> dict[str, str]:
        from parvideo.evaluation.sources import identify

        assert self.model is not None
        return identify(self.model)
