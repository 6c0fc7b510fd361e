"""The pipeline: a generator with its tokenizer and class names, from class names to clips."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from parvideo.checks import whole_number
from parvideo.datasets.clip_format import UNKNOWN, ClipFormat
from parvideo.order import GenerationOrder
from parvideo.pipeline.choices import EngineChoice, clip_length, find_order
from parvideo.pipeline.class_names import find_class
from parvideo.pipeline.decoding import Decoder, stated_loss
from parvideo.pipeline.engines import Progress, Steps, overall
from parvideo.pixels import TensorLike, as_tensor, to_float
from parvideo.pretrained import folder as model_folder
from parvideo.pretrained import hub
from parvideo.sampling import SamplingConfig, TokenCallback, extend
from parvideo.tokenizer import VideoTokenizer
from parvideo.transformer import VideoTransformer


class VideoPipeline:
    """Class-conditional video generation: ``VideoPipeline.from_pretrained(folder).generate(["Archery"])``."""

    def __init__(
        self,
        tokenizer: VideoTokenizer,
        transformer: VideoTransformer,
        class_names: Sequence[str],
        orders: Sequence[GenerationOrder],
        clip_format: ClipFormat = UNKNOWN,
        engine: EngineChoice = "auto",
        dtype: torch.dtype | None = None,
    ) -> None:
        """Put the parts together.

        Args:
            tokenizer: decodes tokens.
            transformer: generates them.
            class_names: in label order.
            orders: that the transformer was trained in; it generates in the first unless asked otherwise.
            clip_format: of the clips that it was trained on, as far as it is known.
            engine: what computes the steps, all with the same random numbers: ``plain``, the loop
                `parvideo.sampling.generate`; ``cpu``, the faster `CpuEngine`, which chooses its kernels by
                timing; ``cpu_packed`` and ``cpu_native``, the same without a choice; ``cuda_graphs``, the
                `CudaGraphEngine`. ``auto`` is the engine of the device, for all that it can draw (that of
                CUDA once it has passed its self-test there), and else the plain loop.
            dtype: that they are computed in, float32 or bfloat16; the transformer's own if not given.

        Raises:
            ValueError: if the codebooks or the number of classes do not agree, there is no order or one that
                does not fit the transformer, or the engine or dtype is unknown or not for this device.
        """
        if tokenizer.codebook_size != transformer.codebook_size:
            raise ValueError(
                f"the transformer's codebook_size is {transformer.codebook_size}, "
                f"the tokenizer's {tokenizer.codebook_size}; they do not belong together"
            )
        if len(class_names) != transformer.num_classes:
            raise ValueError(
                f"class_names has {len(class_names)} names, the transformer {transformer.num_classes} classes"
            )
        self.tokenizer, self.transformer = tokenizer.eval(), transformer.eval()
        self.class_names = list(class_names)
        self._steps = Steps(self.transformer, engine, dtype)
        self.decoder = Decoder(self.tokenizer)  # what tokens become pixels by; ask it for another dtype
        self.clip_format, self.clip_shape = clip_format, tokenizer.clip_shape(transformer.grid)
        if not orders:
            raise ValueError("orders must name at least one order that the transformer was trained in")
        for order in orders:
            transformer.layout(order)  # refuses one that does not fit
        self.orders = list(orders)
        self._extra: dict[str, Any] = {}
        self._tokenizer_said: tuple[ClipFormat, dict[str, Any]] = (clip_format, {})

    @classmethod
    def from_pretrained(
        cls,
        folder: Path | str,
        device: str | torch.device = "cpu",
        engine: EngineChoice = "auto",
        revision: str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Self:
        """Load a generator's model folder, or the run folder around one, or a model on the Hub.

        Args:
            folder: the folder; where there is none of that name, ``owner/name`` on the Hub.
            device: to load it onto.
            engine: what computes the steps, see `VideoPipeline`.
            revision: branch, tag or commit on the Hub, instead of its main branch.
            dtype: that they are computed in; as the weights are loaded, float32, if not given.

        Raises:
            FileNotFoundError: if there is none.
            ConnectionError: if the Hub cannot be asked; what works without it is in the message.
            ValueError: if its files do not fit together, or engine or dtype are unknown or not for it.
        """
        folder = model_folder.find_folder(folder, revision)
        transformer = model_folder.load_transformer(folder, device)
        tokenizer = model_folder.load_tokenizer(folder, device)
        names, orders = model_folder.load_class_names(folder), model_folder.load_orders(folder)
        clip_format, home = model_folder.load_clip_format(folder), folder / model_folder.TOKENIZER
        pipeline = cls(tokenizer, transformer, names, orders, clip_format, engine, dtype)
        pipeline._extra = model_folder.load_extra(folder)
        if (source := hub.origin(folder)) is not None:
            pipeline._extra["source"] = source
        pipeline._tokenizer_said = (model_folder.load_clip_format(home), model_folder.load_extra(home))
        pipeline.decoder.loss_db = stated_loss(pipeline._tokenizer_said[1])
        return pipeline

    def save_pretrained(self, folder: Path | str) -> None:
        """Write the generator's model folder, from which `from_pretrained` makes an equal pipeline.

        It holds weights, configurations, class names, orders, and what the folders that this pipeline was
        loaded from said of the clips that it was trained on.

        Args:
            folder: made if absent.

        Raises:
            FileExistsError: if a model lies there already.
        """
        folder, home = Path(folder), Path(folder) / model_folder.TOKENIZER
        if any((part / model_folder.CONFIG).exists() for part in (folder, home)):
            raise FileExistsError(f"{folder} holds a model already; name another folder, or delete it first")
        model_folder.save_tokenizer(home, self.tokenizer, None, *self._tokenizer_said)
        names, orders, said = self.class_names, self.orders, (self.clip_format, self._extra)
        model_folder.save_generator(folder, self.transformer, names, home, orders, None, *said)

    def to(self, device: str | torch.device) -> Self:
        """Move tokenizer and transformer to a device, which computes from now on; returns this pipeline.

        ValueError if the engine that was asked for is not for that device; nothing is moved then.
        """
        self._steps.to(device)
        self.tokenizer.to(device)
        return self

    @property
    def fps(self) -> float | None:
        """Frames a second of the clips, if the model says."""
        return self.clip_format.fps

    @property
    def engine(self) -> EngineChoice:
        """What computes the steps; it is chosen when the pipeline is made."""
        return self._steps.engine

    @property
    def dtype(self) -> torch.dtype:
        """What the steps are computed in; the transformer's own dtype unless another was asked for."""
        return self._steps.dtype

    @property
    def dtype_setting(self) -> dict[str, str]:
        """The dtype by its name where it is not the weights' own, which makes other clips; else nothing."""
        return {} if self.dtype == self.transformer.head.weight.dtype else {"dtype": str(self.dtype)[6:]}

    def chosen_engine(self, config: SamplingConfig) -> EngineChoice:
        """What computes the steps for a way to draw; on CUDA the engine is tried out first."""
        return self._steps.chosen(config)

    @property
    def window(self) -> int | None:
        """Slots a call of `parvideo.sampling.fixed_point`; None, as it begins, for a step a call."""
        return self._steps.window

    @window.setter
    def window(self, slots: int | None) -> None:
        self._steps.window = slots

    def find_order(self, name: str | None = None, regions: Sequence[int] | None = None) -> GenerationOrder:
        """One of the orders that the model was trained in.

        Args:
            name: of the order, such as ``"1x4x4"`` or ``"dyadic-64"`` (`OrderSpec.name`).
            regions: (rt, rh, rw) of the order, in place of its name. The main order if neither is given.

        Raises:
            ValueError: if both are given, or the model was not trained in such an order.
        """
        return find_order(self.orders, name, regions)

    def resolve_class(self, name: str | int | None) -> int:
        """The label of a class.

        Args:
            name: a str is a name (case matters only where two names differ by nothing else), also ``"10"``;
                an int is an index; None stands for no class.

        Raises:
            ValueError: if there is no such class; the message suggests near names.
        """
        return find_class(self.class_names, name)

    def generate(
        self,
        classes: Sequence[str | int | None],
        num_per_class: int = 1,
        seed: int = 0,
        config: SamplingConfig | None = None,
        batch_size: int = 16,
        progress: Progress | None = None,
        order: str | GenerationOrder | None = None,
        regions: Sequence[int] | None = None,
    ) -> Tensor:
        """Generate clips: all of the first class, then all of the second, and so on.

        Clip number i depends on its class, ``seed`` and i alone, not on ``batch_size``.

        Args:
            classes: of each a name (str), an index (int), or None to generate without a class.
            num_per_class: clips of each.
            seed: of the random numbers; takes the place of the config's.
            config: how to sample; plain sampling if not given.
            batch_size: clips generated together.
            progress: called after each step.
            order: to generate in, or its name; see `find_order`.
            regions: (rt, rh, rw) of the order, in place of it.

        Returns:
            uint8 ``[B, T, H, W, 3]``, B = len(classes) · num_per_class.

        Raises:
            ValueError: on an unknown class or order, or a number that is not positive.
        """
        if regions is not None:
            order = self.find_order(order.name if isinstance(order, GenerationOrder) else order, regions)
        labels = self._labels(classes, num_per_class)
        tokens = self.generate_tokens(labels, seed, config, batch_size, progress=progress, order=order)
        return self.decode(tokens, batch_size)

    def generate_tokens(
        self,
        labels: TensorLike | Sequence[int],
        seed: int = 0,
        config: SamplingConfig | None = None,
        batch_size: int = 16,
        indices: Sequence[int] | None = None,
        progress: Progress | None = None,
        order: str | GenerationOrder | None = None,
        on_tokens: TokenCallback | None = None,
    ) -> Tensor:
        """Generate token grids, int64 ``[B, t, h, w]`` on the model's device, for labels int64 ``[B]``.

        Args:
            labels: the class of each clip, on any device; the number of classes stands for no class.
            seed: of the random numbers; takes the place of the config's.
            config: how to sample.
            batch_size: clips generated together.
            indices: number of each clip, which with the seed keys its random numbers; 0..B-1 if not given.
            progress: called after each step.
            order: to generate in, or its name; see `find_order`.
            on_tokens: called with the ordered tokens of the batch under way.

        Raises:
            ValueError: if ``batch_size`` is not positive, or there are no labels or one is out of range.
        """
        whole_number(batch_size, "batch_size", least=1)
        labels = self._on_device(labels)
        config = dataclasses.replace(config or SamplingConfig(), seed=seed)
        indices = range(len(labels)) if indices is None else indices
        starts = range(0, len(labels), batch_size)
        used, made = self._order(order), []
        for number, start in enumerate(starts):
            on_step = overall(progress, number, len(starts)) if progress else None
            batch = slice(start, start + batch_size)
            asked = (labels[batch], config, indices[batch])
            made.append(self._steps.generate(used, *asked, on_step=on_step, on_tokens=on_tokens))
        return torch.cat(made)

    @torch.inference_mode()
    def continue_clips(
        self,
        clips: TensorLike,
        classes: Sequence[str | int | None],
        latent_frames: int | None = None,
        overlap: int = 1,
        seed: int = 0,
        config: SamplingConfig | None = None,
        order: str | GenerationOrder | None = None,
    ) -> Tensor:
        """Go on from the first frames of clips: frame-conditional generation, as long as you like.

        Beyond the trained length the model's window slides over latent frames (`parvideo.sampling.extend`).

        Args:
            clips: uint8 ``[B, T', H, W, 3]``, of a length that the tokenizer encodes (1 frame is one).
            classes: the class of each, B of them, as of `generate`.
            latent_frames: length of the result in latent frames; the trained length if not given.
            overlap: latent frames that each window beyond the trained length takes over.
            seed: of the random numbers; takes the place of the config's.
            config: how to sample.
            order: to generate in, or its name; see `find_order`.

        Returns:
            uint8 ``[B, T, H, W, 3]``; its beginning is the given frames as the tokenizer reconstructs them.

        Raises:
            ValueError: if the frames do not fit the tokenizer or the model, or a class is unknown.
        """
        labels = self._labels(classes, 1)
        if len(clips) != len(labels):
            raise ValueError(f"got {len(clips)} clips and {len(labels)} classes; give each clip its class")
        prefix = self.tokenizer.encode(to_float(as_tensor(clips).to(labels.device)))
        tokens = self.extend_tokens(labels, prefix, latent_frames, overlap, seed, config, order=order)
        return self.decode(tokens)

    def extend_tokens(
        self,
        labels: TensorLike | Sequence[int],
        prefix: TensorLike | None = None,
        latent_frames: int | None = None,
        overlap: int = 1,
        seed: int = 0,
        config: SamplingConfig | None = None,
        indices: Sequence[int] | None = None,
        progress: Progress | None = None,
        order: str | GenerationOrder | None = None,
    ) -> Tensor:
        """Generate one batch of token grids of any length, from given first latent frames or from nothing.

        Args:
            labels: int64 ``[B]``, as of `generate_tokens`.
            prefix: the first latent frames, int64 ``[B, k, h, w]``, if any.
            latent_frames: length of the result; the trained length t if not given.
            overlap: latent frames that each window beyond the trained length takes over.
            seed: of the random numbers; takes the place of the config's.
            config: how to sample.
            indices: number of each clip, which with the seed keys its random numbers; 0..B-1 if not given.
            progress: called after each step of each window.
            order: to generate in, or its name; see `find_order`.

        Returns:
            int64 ``[B, latent_frames, h, w]``.

        Raises:
            ValueError: if no latent frame would be generated, or the overlap does not fit the window.
        """
        labels = self._on_device(labels)
        prefix = None if prefix is None else as_tensor(prefix, "prefix").to(labels.device)
        length, used = self.transformer.grid[0], self._order(order)
        there = 0 if prefix is None else prefix.shape[1]
        goal = self.check_length(latent_frames, overlap, there)
        config = dataclasses.replace(config or SamplingConfig(), seed=seed)
        indices = range(len(labels)) if indices is None else indices
        windows = (there < length) + max(0, -(-(goal - max(there, length)) // max(1, length - overlap)))
        done = 0

        def window(
            labels: Tensor,
            config: SamplingConfig,
            indices: Sequence[int],
            prefix: Tensor | None,
            rng_stream: int = 0,
        ) -> Tensor:
            nonlocal done
            on_step = overall(progress, done, windows) if progress else None
            done += 1
            return self._steps.generate(used, labels, config, indices, prefix, rng_stream, on_step)

        tokens = window(labels, config, indices, prefix)[:, :goal] if there < length else prefix
        assert tokens is not None
        if tokens.shape[1] < goal:
            missing = goal - tokens.shape[1]
            tokens = extend(self.transformer, used, tokens, labels, missing, overlap, config, indices, window)
        return tokens

    def check_length(self, latent_frames: int | None, overlap: int, prefix: int = 0) -> int:
        """The length in latent frames that clips will have; arguments and errors as of `clip_length`."""
        return clip_length(self.transformer.grid[0], latent_frames, overlap, prefix)

    @torch.inference_mode()
    def decode(self, tokens: TensorLike, batch_size: int = 16) -> Tensor:
        """Decode tokens int64 ``[B, t, h, w]`` to clips uint8 ``[B, T, H, W, 3]`` on the CPU, in memory that
        grows neither with the number of clips nor with their length (`parvideo.pipeline.decoding`)."""
        whole_number(batch_size, "batch_size", least=1)
        pixels = math.prod(self.clip_shape) / self.transformer.grid[0]
        return self.decoder.decode(as_tensor(tokens, "tokens"), math.ceil(pixels), batch_size)

    def _order(self, order: str | GenerationOrder | None) -> GenerationOrder:
        return order if isinstance(order, GenerationOrder) else self.find_order(order)

    def _on_device(self, labels: TensorLike | Sequence[int]) -> Tensor:
        """Labels where the model is, which alone decides what generates them."""
        return torch.as_tensor(labels).to(self.transformer.head.weight.device)

    def _labels(self, classes: Sequence[str | int | None], num_per_class: int) -> Tensor:
        if isinstance(classes, str) or len(classes) == 0:
            raise ValueError(f"classes is {classes!r}; give a list of at least one name or index")
        whole_number(num_per_class, "num_per_class", least=1)
        return self._on_device([self.resolve_class(name) for name in classes for _ in range(num_per_class)])
