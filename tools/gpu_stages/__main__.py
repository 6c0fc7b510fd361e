"""One stage of `python -m tools.gpu_day`, in this process: `python -m tools.gpu_stages NAME --out DIR`."""

import argparse
import importlib
import sys
from pathlib import Path

from tools.gpu_stages.record import Record, Skipped

HOMES = {
    "imports": "machine",
    "ceilings": "machine",
    "tests": "machine",
    "recipes": "decoding",
    "decode_343m": "decoding",
    "decode_792m": "decoding",
    "attention": "attention",
    "train_792m": "training",
    "tokenizer": "training",
    "small_training": "small_training",
    "i3d": "features",
}
"""Stage -> the file with its function, which has the stage's name and takes a `Record`."""


def main(arguments: list[str] | None = None) -> int:
    """Run a stage; its file says how it ended, and the exit status whether it did."""
    parser = argparse.ArgumentParser(prog="python -m tools.gpu_stages", description=__doc__)
    parser.add_argument("stage", choices=list(HOMES))
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small models: that it runs, not how fast")
    options = parser.parse_args(arguments)
    record = Record(options.out, options.stage, options.device, options.tiny)
    work = getattr(importlib.import_module(f"tools.gpu_stages.{HOMES[options.stage]}"), options.stage)
    try:
        reason = work(record)
    except Skipped as skip:
        record.end("SKIP", str(skip))
        return 0
    except Exception as error:
        record.end(
            "FAIL", f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0][:300]}"
        )
        raise
    record.conclude(reason or "")
    return 0


if __name__ == "__main__":
    sys.exit(main())
