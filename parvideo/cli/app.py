"""`parvideo app`: a local page to play with a model."""

import importlib.util
import os
from pathlib import Path


def app(model: Path, /, host: str = "127.0.0.1", port: int | None = None, device: str = "cpu") -> None:
    """Serve a page on this machine: class, seed, guidance and speed; tokens fill in as they are generated.

    Prints the page's address, and serves it until Ctrl+C. Needs the extra `app`: pip install 'parvideo[app]'.

    Args:
        model: a generator's run folder or model folder; or, where there is no such folder, owner/name or
            owner/name@revision on the Hub.
        host: address to listen at; 0.0.0.0 lets other machines in, who then generate with your model.
        port: to listen at; the first free one from 7860 if not given.
        device: where to compute, such as cuda.
    """
    if importlib.util.find_spec("gradio") is None:
        raise ValueError("the page needs Gradio, which is not installed: pip install 'parvideo[app]'")
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when Gradio is imported
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

    from parvideo.app.playing import Studio

    studio = Studio(model, device)  # first, for what is wrong with a model is said at once

    from parvideo.app.page import build_page, launch

    page = build_page(studio)
    address = launch(page, host, port, wait=False)
    print(f"{model} at {address} (Ctrl+C ends it)", flush=True)
    page.block_thread()
