"""What a stage has found so far, in a file that is whole at every moment."""

import json
import os
from pathlib import Path
from typing import Any


class Skipped(Exception):  # noqa: N818 - it is no error
    """Raised by a stage that has nothing to do here; says why."""


def in_a_line(error: Exception) -> str:
    """An error's kind and the first line of what it says."""
    return f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0][:300]}"


class Record:
    """A stage's file, ``stages/NAME.json``: results, checks and a table, written at every change.

    Args:
        out: folder of the day.
        name: of the stage.
        device: cuda or cpu.
        tiny: small models, of which no speed is asked.
    """

    def __init__(self, out: Path, name: str, device: str, tiny: bool) -> None:
        self.out, self.name, self.device, self.tiny = out.resolve(), name, device, tiny
        self.path = self.out / "stages" / f"{name}.json"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.content: dict[str, Any] = {
            "stage": name,
            "status": "RUNNING",
            "reason": "",
            "results": {},
            "checks": [],
            "table": [],
        }
        self._write()

    @property
    def work(self) -> Path:
        """A folder for what the stage needs on its way: data, runs. Nothing in it is a result."""
        folder = self.out / "work" / self.name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def note(self, **results: Any) -> None:
        """Add results."""
        self.content["results"] |= results
        self._write()

    def show(self, line: str) -> None:
        """Add a line to the table, and print it."""
        print(line, flush=True)
        self.content["table"].append(line)
        self._write()

    def check(self, name: str, value: Any, *, least: float | None = None, most: float | None = None) -> None:
        """Compare a number with a bound, or, without one, ask that ``value`` is true."""
        if least is None and most is None:
            wanted, passed = "yes", bool(value)
            value = "yes" if value else "no"
        else:
            bounds = [
                f">= {least:g}" if least is not None else "",
                f"<= {most:g}" if most is not None else "",
            ]
            wanted = " and ".join(filter(None, bounds))
            # Comparisons with NaN are false: it passes no bound.
            passed = (least is None or value >= least) and (most is None or value <= most)
        self._add(name, value, wanted, "PASS" if passed else "FAIL")

    def floor(
        self, name: str, value: float, *, least: float | None = None, most: float | None = None
    ) -> None:
        """A check of speed, which is asked of a GPU at full size alone."""
        if self.device == "cuda" and not self.tiny:
            self.check(name, value, least=least, most=most)
            return
        bound = f">= {least:g}" if least is not None else f"<= {most:g}"
        self._add(name, value, f"{bound} on a GPU", "not asked")

    def earlier(self, stage: str) -> dict[str, Any]:
        """The results of another stage; nothing if there are none."""
        try:
            found = json.loads((self.out / "stages" / f"{stage}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        results: dict[str, Any] = found.get("results", {})
        return results

    def conclude(self, reason: str) -> None:
        """PASS if every check has passed; else FAIL, and the reason names those that have not."""
        failed = [check["name"] for check in self.content["checks"] if check["result"] == "FAIL"]
        if failed:
            self.end("FAIL", f"{', '.join(failed)}" + (f" ({reason})" if reason else ""))
        else:
            self.end("PASS", reason)

    def end(self, status: str, reason: str) -> None:
        """Write how the stage ended."""
        self.content |= {"status": status, "reason": reason}
        self._write()

    def _add(self, name: str, value: Any, wanted: str, result: str) -> None:
        self.content["checks"].append({"name": name, "value": value, "wanted": wanted, "result": result})
        self._write()

    def _write(self) -> None:
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        temporary.write_text(json.dumps(self.content, indent=1) + "\n", encoding="utf-8")
        temporary.replace(self.path)
