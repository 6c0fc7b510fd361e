"""What `parvideo evaluate` is asked to score, and the clip sources that follow from it."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from parvideo.jobs.options import EvaluateOptions

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
        options: what is scored: one of model, clips and tokenizer.
        device: where.
    """

    videos: "VideoList"
    options: EvaluateOptions
    device: "torch.device"
    _infos: "dict[str, VideoInfo] | None" = None

    def real_clips(self, protocol: "Protocol", repeat: int) -> "RealClips":
        """The real clips of a repetition."""
        from parvideo.evaluation.sources import RealClips

        source = RealClips(self.videos, protocol, repeat, self.options.extraction.workers, self._infos)
        self._infos = source.infos
        return source

    def held_out_clips(self, videos: "VideoList", protocol: "Protocol") -> "RealClips":
        """The clips of other videos, which the model never saw."""
        from parvideo.evaluation.sources import RealClips

        return RealClips(videos, protocol, 0, self.options.extraction.workers)

    def check_format(self, protocol: "Protocol", source: "RealClips") -> list[str]:
        """Refuse clips of another frame rate, size or list of classes than the real ones.

        Before anything is computed, and by what the folders say of themselves.

        Returns:
            Notes for the report: what they do not say.

        Raises:
            ValueError: naming what differs.
        """
        from parvideo.evaluation.clip_formats import (
            check_class_names,
            check_format,
            read_format,
            recorded_format,
        )
        from parvideo.evaluation.sources import SavedClips
        from parvideo.pretrained.folder import load_class_names

        options = self.options
        if options.clips is not None:
            SavedClips(
                options.clips, options.allow_lossy, len(source.class_names)
            )  # each file's shape, labels
            (recorded, names), what = read_format(options.clips), str(options.clips)
        else:
            folder = options.model or options.tokenizer
            assert folder is not None
            recorded, names, what = recorded_format(folder), None, str(folder)
            if options.model is not None and not options.generation.unconditional:
                names = load_class_names(options.model)
        check_class_names(names, source.class_names, what)
        rates = [info.fps for info in source.infos.values()]
        return check_format(recorded, protocol, rates, what)

    def fake_clips(
        self, protocol: "Protocol", repeat: int, source: "RealClips", real: "FeatureSet"
    ) -> "ClipSource":
        """The clips that are scored against them."""
        from dataclasses import replace

        from parvideo.evaluation import sources as clip_sources
        from parvideo.pretrained.folder import load_tokenizer

        options = self.options
        if options.clips is not None:
            return clip_sources.SavedClips(options.clips, options.allow_lossy, len(source.class_names))
        if options.tokenizer is not None:
            network = load_tokenizer(options.tokenizer, self.device)
            return clip_sources.ReconstructedClips(source, network, options.tokenizer)
        assert options.model is not None
        pipeline, generation = self._pipeline, options.generation
        classes = len(pipeline.class_names)
        if generation.unconditional:
            labels = [classes] * protocol.fake_count
        elif protocol.label_policy == "copy-real":
            labels = clip_sources.copied_labels(real, protocol.fake_count, protocol.clip_seed)
        else:
            labels = clip_sources.uniform_labels(protocol.fake_count, classes)
        return clip_sources.GeneratedClips(
            pipeline,
            labels,
            replace(generation.config(), seed=generation.seed + repeat),
            options.model,
            generation.latent_frames,
            generation.overlap,
            self._models,
            generation.prepare(pipeline),
        )

    @cached_property
    def _pipeline(self) -> "VideoPipeline":
        assert self.options.model is not None
        return self.options.generation.load(self.options.model, self.device)

    @cached_property
    def _models(self) -> dict[str, str]:
        from parvideo.evaluation.sources import identify

        assert self.options.model is not None
        return identify(self.options.model)
