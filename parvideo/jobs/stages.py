"""Stages: long work in steps, each done once; an interrupted one goes on when the work is begun again."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from parvideo.files import check_settings, read_json, write_json


class Stages:
    """Runs stages by name, remembers what is done, and refuses to mix settings."""

    def __init__(self, folder: Path, total: int) -> None:
        self.folder, self.total, self.number = folder, total, 0
        self.path = folder / "state.json"
        self.record: dict[str, Any] = read_json(self.path) if self.path.exists() else {}

    def run(self, name: str, title: str, settings: dict[str, Any], work: Callable[[], Any]) -> Any:
        """Do a stage, or return what it gave when it was done before.

        Args:
            name: of the stage.
            title: shown.
            settings: what the result depends on, JSON-able.
            work: does it; returns something JSON-able. It must go on where an interrupted call was.

        Raises:
            ValueError: if the stage was begun with other settings.
        """
        self.number += 1
        head = f"[{self.number}/{self.total}] {title}"
        entry = self.record.get(name, {"settings": settings, "done": False, "seconds": 0.0, "result": None})
        advice = "give the same settings to go on, or another --out"
        check_settings(self.folder, entry["settings"], settings, f"{name!r}", advice=advice)
        if entry["done"]:
            print(f"{head}: done before ({entry['seconds']:.0f} s)", flush=True)
            return entry["result"]
        print(f"{head} ...", flush=True)
        self.record[name] = entry
        write_json(self.path, self.record)
        started = time.monotonic()
        try:
            entry["result"] = work()
            entry["done"] = True
        finally:
            entry["seconds"] += time.monotonic() - started
            write_json(self.path, self.record)
        print(f"{head}: {entry['seconds']:.0f} s", flush=True)
        return entry["result"]

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds that each stage took, over all runs."""
        return {name: entry["seconds"] for name, entry in self.record.items()}
