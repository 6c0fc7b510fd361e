"""The page itself, in Gradio, which is imported here and nowhere else."""

import base64
import html
import io
from collections.abc import Iterator
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from parvideo.app.playing import Studio, View

WINDOWS = (8, 16, 32, 64, 128)
FRAME_SIDE, ROW, GAP = 132, 540, 8
"""Pixels of a latent frame's width on the page, at most, of a row of them, and between two."""
TOKENS = "<p>Tokens, a picture a latent frame, each in its mean colour:</p>"
CSS = """
.gradio-container {max-width: 1100px !important; margin: 0 auto !important}
.frames {display: flex; flex-wrap: wrap; gap: 8px; min-height: 108px}
.frames img {image-rendering: pixelated; border-radius: 4px}
.wrong {color: #c0392b; font-weight: 600}
"""


def build_page(studio: Studio) -> gr.Blocks:
    """The page of a model."""
    pipeline = studio.pipeline
    frames, height, width = pipeline.clip_shape
    grid = "x".join(map(str, pipeline.transformer.grid))
    rate = f" at {pipeline.fps:g} frames a second" if pipeline.fps else ""
    about = (
        f"{len(pipeline.class_names)} classes; clips of {frames} frames of {height}x{width} pixels{rate}, "
        f"from {grid} tokens."
    )
    speeds = [(f"{order.name}: {order.steps} steps", order.name) for order in studio.orders]
    windows = [("off: a step a call", 0), *((f"{slots} tokens a call", slots) for slots in WINDOWS)]
    with gr.Blocks(
        title=f"parvideo: {studio.name}", analytics_enabled=False, delete_cache=(600, 3600)
    ) as page:
        gr.Markdown(f"## {html.escape(studio.name)}\n{about}")
        with gr.Row():
            with gr.Column(scale=2, min_width=280):
                class_name = gr.Dropdown(
                    pipeline.class_names,
                    value=pipeline.class_names[0],
                    label="Class",
                    allow_custom_value=True,
                    elem_id="class",
                )
                seed = gr.Textbox("0", label="Seed", elem_id="seed")
                guidance = gr.Slider(1, 8, 2, step=0.25, label="Guidance (1 is off)", elem_id="guidance")
                speed = gr.Radio(speeds, value=speeds[0][1], label="Speed", elem_id="speed")
                window = gr.Dropdown(
                    windows,
                    value=0,
                    label="Exact windows: the same clip in fewer calls",
                    elem_id="window",
                )
                with gr.Row():
                    go = gr.Button("Generate", variant="primary", elem_id="go")
                    stop = gr.Button("Stop", elem_id="stop")
            with gr.Column(scale=3, min_width=320):
                status = gr.HTML("Press Generate.", elem_id="status")
                tokens = gr.HTML(elem_id="tokens")
                video = gr.Video(
                    label="Clip",
                    autoplay=True,
                    loop=True,
                    interactive=False,
                    buttons=[],
                    height=384,
                    elem_id="clip",
                )
                with gr.Row():
                    mp4 = gr.DownloadButton("Download .mp4", interactive=False, elem_id="mp4")
                    npz = gr.DownloadButton("Download .npz", interactive=False, elem_id="npz")
                command = gr.HTML(elem_id="command")

        def play(*asked: Any) -> Iterator[list[Any]]:
            name, typed, scale, order, slots = asked
            for view in studio.play(
                str(name or ""), str(typed), float(scale), str(order), int(slots) or None
            ):
                yield render(view)

        quietly: dict[str, Any] = {"concurrency_limit": 1, "show_progress": "hidden"}
        shown = [status, tokens, video, mp4, npz, command]
        go.click(play, [class_name, seed, guidance, speed, window], shown, **quietly)
        seed.submit(play, [class_name, seed, guidance, speed, window], shown, **quietly)
        stop.click(studio.stop, queue=False, show_progress="hidden")  # past the queue
    return page


def launch(page: gr.Blocks, host: str, port: int | None, wait: bool = True) -> str:
    """Serve the page until the process is interrupted.

    Args:
        page: to serve.
        host: address to listen at.
        port: to listen at; the first free one from 7860 if not given.
        wait: come back only when the server has ended.

    Returns:
        Its address.

    Raises:
        OSError: if the port is taken.
    """
    # Gradio's own fonts would be fetched from another machine.
    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"])
    _, address, _ = page.queue().launch(
        server_name=host,
        server_port=port,
        share=False,
        quiet=True,
        prevent_thread_lock=True,
        ssr_mode=False,
        footer_links=[],
        theme=theme,
        css=CSS,
    )
    if wait:
        page.block_thread()
    return str(address)


def render(view: View) -> list[Any]:
    """What each part of the page shows: status, tokens, video, both downloads, command."""
    line = html.escape(view.line)
    if view.failed:
        return [f'<p class="wrong">{line}</p>', *[gr.skip()] * 5]
    frames = "" if view.tokens is None else _pictures(view.tokens)
    parts: list[Any] = [f"<p>{line}</p>", f'{TOKENS if frames else ""}<div class="frames">{frames}</div>']
    if view.shown is None:
        empty = gr.DownloadButton(value=None, interactive=False)
        return [*parts, None, empty, empty, ""]
    files = [gr.DownloadButton(value=str(file), interactive=True) for file in view.files]
    command = f"<p>The same clip: <code>{html.escape(view.command)}</code></p>"
    return [*parts, str(view.shown), *files, command]


def _pictures(tokens: np.ndarray) -> str:
    """Latent frames ``[t, h, w, 3]`` as HTML, a pixel a token, small enough that a few stand in a row."""
    width = max(48, min(FRAME_SIDE, ROW // len(tokens) - GAP))
    height = round(width * tokens.shape[1] / tokens.shape[2])
    pictures = []
    for frame in tokens:
        data = io.BytesIO()
        Image.fromarray(frame).save(data, "PNG")
        source = f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"
        pictures.append(f'<img alt="" width="{width}" height="{height}" src="{source}">')
    return "".join(pictures)
