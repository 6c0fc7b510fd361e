"""What the page shows, without the page: one clip at a time, its tokens as they are drawn, its files."""

import queue
import shlex
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from parvideo.checks import check_seed
from parvideo.datasets.writing import write_mp4
from parvideo.files import atomic_path
from parvideo.jobs.generation_options import GenerationOptions
from parvideo.order import GenerationOrder
from parvideo.pipeline import VideoPipeline
from parvideo.pixels import to_uint8
from parvideo.pretrained.folder import find_folder
from parvideo.pretrained.hub import origin
from parvideo.tokenizer import VideoTokenizer

EMPTY = (26, 28, 36)
"""The colour of a token that is not drawn yet."""
SQUARE = 3
"""Side of the square of equal tokens by which the colour of one is found."""
SHOWN_SIDE = 320
"""Pixels of the clip's width on the page, about: whole times its own, without smoothing."""
PAUSE = 0.05
"""Least seconds between two pictures of the tokens, so that showing them takes little from drawing them."""


@dataclass(frozen=True)
class View:
    """What is to be seen at one moment.

    Attributes:
        line: a sentence: how far it is, or what is wrong.
        failed: whether the sentence says what is wrong.
        tokens: a pixel a token, uint8 ``[t, h, w, 3]``; None if nothing has begun.
        shown: the clip enlarged, as MP4; None until it is done.
        files: the clip as `parvideo sample` writes it: MP4, and arrays without loss (.npz).
        command: that makes the same clip.
    """

    line: str
    failed: bool = False
    tokens: np.ndarray | None = None
    shown: Path | None = None
    files: tuple[Path, ...] = ()
    command: str = ""


class StoppedError(Exception):
    """Raised in the midst of generating, when nobody wants the clip any more."""


class Studio:
    """A loaded model that makes one clip at a time, and tells how far it is.

    Args:
        model: a generator's model folder or run folder, or owner/name on the Hub.
        device: where to compute.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is no generator, or its files do not fit.
    """

    def __init__(self, model: Path, device: str = "cpu") -> None:
        home = find_folder(model)
        self.name = origin(home) or str(model)
        self.pipeline = VideoPipeline.from_pretrained(home, device)
        self._colours = TokenColours(self.pipeline.tokenizer)
        self._folder = tempfile.TemporaryDirectory(prefix="parvideo-app-")
        self._count = 0
        self._gone = threading.Event()

    @property
    def orders(self) -> list[GenerationOrder]:
        """The speeds: every order that the model was trained in."""
        return self.pipeline.orders

    def stop(self) -> None:
        """End the clip that is being made, if there is one, after the step under way."""
        self._gone.set()

    def play(
        self, class_name: str, seed: str, guidance: float, order: str, window: int | None = None
    ) -> Iterator[View]:
        """Make a clip; what is wrong with what was asked for comes as a view, too.

        Args:
            class_name: its class.
            seed: as it was typed.
            guidance: scale of classifier-free guidance.
            order: its name.
            window: slots a call of exact decoding in windows; None for a step a call.

        Yields:
            Views, the last of them with the clip or with what is wrong.
        """
        try:
            options = GenerationOptions(
                seed=parse_seed(seed), guidance_scale=guidance, order=order, window=window
            )
            label = self.pipeline.resolve_class(class_name)
            yield from self._make(label, options)
        except ValueError as error:
            yield View(f"{' '.join(str(error).split())}.", failed=True)

    def _make(self, label: int, options: GenerationOptions) -> Iterator[View]:
        pipeline, order = self.pipeline, options.prepare(self.pipeline)
        news: queue.Queue[tuple[Tensor, int, int] | Tensor | BaseException] = queue.Queue()
        self._gone = gone = threading.Event()
        calls, reached, began = 0, 0, time.perf_counter()
        ended = began

        def on_tokens(tokens: Tensor, steps: int) -> None:
            nonlocal calls, reached
            if gone.is_set():
                raise StoppedError
            calls, reached = calls + 1, steps
            news.put((tokens[0].clone(), steps, calls))

        def work() -> None:
            nonlocal ended
            try:
                config, seed = options.config(), options.seed
                tokens = pipeline.generate_tokens(
                    [label], seed, config, batch_size=1, order=order, on_tokens=on_tokens
                )
                ended = time.perf_counter()
                news.put(tokens)
            except BaseException as error:  # told to who waits for it
                news.put(error)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        view, last = View("begins"), 0.0
        try:
            while isinstance(item := _newest(news), tuple):
                tokens, steps, done = item
                spent = time.perf_counter() - began
                line = f"{steps} of {order.steps} steps, {_count(done, 'call')}, {spent:.1f} s"
                view = View(line, tokens=self.picture(tokens, order, steps))
                yield view
                time.sleep(max(0.0, PAUSE - (time.perf_counter() - last)))
                last = time.perf_counter()
        finally:
            gone.set()
            thread.join()
        if isinstance(item, StoppedError):
            yield replace(view, line=f"stopped after {reached} of {order.steps} steps")
            return
        if isinstance(item, BaseException):
            raise item
        assert isinstance(item, Tensor)
        flat = order.flatten(item)[0]
        view = replace(view, tokens=self.picture(flat, order, order.steps))
        yield replace(view, line=f"{order.num_tokens} tokens in {_count(calls, 'call')}; decoding")
        yield self._finish(item, label, options, view, (ended - began, calls))

    def _finish(
        self, tokens: Tensor, label: int, options: GenerationOptions, view: View, spent: tuple[float, int]
    ) -> View:
        pipeline, (generated, calls) = self.pipeline, spent
        began = time.perf_counter()
        clip = pipeline.decode(tokens)
        decoded = time.perf_counter() - began
        self._count += 1
        folder, fps = Path(self._folder.name) / f"{self._count:04d}", pipeline.fps or 8.0
        name = f"{pipeline.class_names[label]}-seed-{options.seed}".replace("/", "-")
        files = (folder / f"{name}.mp4", folder / f"{name}.npz")
        write_mp4(files[0], clip[0], fps)
        with atomic_path(files[1]) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, clips=clip.numpy(), labels=[label], indices=[0])
        times = max(1, SHOWN_SIDE // clip.shape[3])
        shown = clip[0].repeat_interleave(times, dim=1).repeat_interleave(times, dim=2)
        write_mp4(folder / "shown.mp4", shown, fps)
        line = (
            f"{tokens[0].numel()} tokens in {_count(calls, 'call')} and {generated:.1f} s; decoded to "
            f"{_count(clip.shape[1], 'frame')} of {clip.shape[2]}x{clip.shape[3]} in {decoded:.1f} s"
        )
        command = self.command(pipeline.class_names[label], options)
        return replace(view, line=line, shown=folder / "shown.mp4", files=files, command=command)

    def command(self, class_name: str, options: GenerationOptions) -> str:
        """What makes the same clip on the command line."""
        words = [
            "parvideo",
            "sample",
            "--model",
            self.name,
            "--class",
            class_name,
            "--seed",
            str(options.seed),
        ]
        if options.guidance_scale != 1:
            words += ["--guidance-scale", f"{options.guidance_scale:g}"]
        if options.order is not None and options.order != self.orders[0].name:
            words += ["--order", options.order]
        if options.window is not None:
            words += ["--window", str(options.window)]
        return shlex.join([*words, "--out", "samples"])

    def picture(self, tokens: Tensor, order: GenerationOrder, steps: int) -> np.ndarray:
        """The tokens of the first steps, each in its colour.

        Args:
            tokens: ordered, int64 ``[N]``; those of later steps are not looked at.
            order: theirs.
            steps: that are done.

        Returns:
            uint8 ``[t, h, w, 3]``.
        """
        known = order.group.to(tokens.device) < steps
        colours = torch.tensor(EMPTY, dtype=torch.uint8).repeat(order.num_tokens, 1)
        colours[known.cpu()] = self._colours.of(tokens[known])
        places = order.unflatten(torch.arange(order.num_tokens)[None])[0]
        return colours[places].numpy()


class TokenColours:
    """The mean colour of what a tokenizer makes of each token among its like.

    That is of a square of `SQUARE` times the same token, which comes nearer to the colours that tokens have
    in clips than a token alone.

    Args:
        tokenizer: that decodes them.
    """

    def __init__(self, tokenizer: VideoTokenizer) -> None:
        self.tokenizer = tokenizer
        self.known = torch.zeros(tokenizer.codebook_size, dtype=torch.bool)
        self.colours = torch.zeros(tokenizer.codebook_size, 3, dtype=torch.uint8)

    @torch.inference_mode()
    def of(self, tokens: Tensor) -> Tensor:
        """Colours uint8 ``[n, 3]`` of tokens int64 ``[n]``."""
        codes = tokens.cpu().unique()
        unknown = codes[~self.known[codes]]
        for new in unknown.split(64) if len(unknown) else ():
            squares = new.to(tokens.device)[:, None, None, None].repeat(1, 1, SQUARE, SQUARE)
            clips = to_uint8(self.tokenizer.decode(squares)).cpu()
            self.colours[new] = clips.float().mean(dim=(1, 2, 3)).round().to(torch.uint8)
            self.known[new] = True
        return self.colours[tokens.cpu()]


def parse_seed(text: str) -> int:
    """A seed as it was typed.

    Raises:
        ValueError: if it is none.
    """
    try:
        number = int(str(text).strip())
    except ValueError:
        raise ValueError(f"seed is {str(text).strip()!r}; it must be a whole number, 0 or more") from None
    return check_seed(number)


def _newest(news: "queue.Queue[tuple[Tensor, int, int] | Tensor | BaseException]") -> object:
    """The last of what has come, waiting for something to come; the end is never passed over."""
    item = news.get()
    while isinstance(item, tuple):
        try:
            item = news.get_nowait()
        except queue.Empty:
            break
    return item


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
