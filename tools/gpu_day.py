"""Everything that only a GPU can say, in one command: `python -m tools.gpu_day --out DIR`.

    python tools/gpu_day.py --out DIR                      # the same
    python -m tools.gpu_day --out DIR --device cpu --tiny  # every stage, small, to see that it runs

Each stage is a process with a time limit. It writes what it measures at once, into DIR/stages/NAME.json, and
ends in PASS, FAIL or SKIP with a reason; one that hangs or dies does not stop the next. The same command goes
on with the stages that are missing. DIR/gpu_day.json holds all of it, DIR/summary.md a table.

This file takes nothing but Python's own library: it must report also where nothing else can be imported.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
LEAST = 20.0
"""Seconds without which no stage is begun."""

WHEELS = """A machine without a package registry needs the wheels of constraints.txt but torch, which it has
(Python 3.12, torch 2.11). Where there is a registry:
  grep -v '^torch==' constraints.txt | grep -v '^#' > wheels.txt
  pip download -r wheels.txt -d wheels --no-deps --only-binary=:all: --python-version 3.12 \\
      --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64
On the machine, in a checkout with the folder wheels:
  pip install --no-index --no-deps wheels/*.whl
The stage `imports` says which are missing; it comes first. The Kinetics-400 I3D (`parvideo weights i3d`, 47
MB) is used where it lies in the user's cache; without it random weights are compared."""


class Stage(NamedTuple):
    """A stage: its name, its limit in seconds, and what it is about."""

    name: str
    limit: float
    title: str


STAGES = (
    Stage("imports", 150, "Python, torch, CUDA and every package that parvideo needs"),
    Stage("ceilings", 90, "memory bandwidth and matrix products"),
    Stage("tests", 240, "the tests that need CUDA"),
    Stage("recipes", 240, "343M, 4x: static steps compiled or not, each way of attention; names the fastest"),
    Stage("decode_343m", 200, "343M: engine against plain loop, tokens equal, roofline, speed-ups"),
    Stage("decode_792m", 300, "792M: the same"),
    Stage("train_792m", 420, "792M through fit: micro-batch, compiled or not, memory, MFU, stop and resume"),
    Stage("tokenizer", 200, "the base tokenizer with its adversary from step 0 in bf16"),
    Stage("attention", 150, "attention at the training shape, forward and backward, kernel by kernel"),
    Stage("i3d", 90, "I3D against the CPU"),
    Stage("small_training", 150, "a small generator learns a known pattern, and its samples show it"),
)
FINAL = ("PASS", "FAIL", "SKIP")
ON_CPU = 4.0
"""How much longer a stage may take on a CPU, which others may use too."""
RUNNER = ("-m", "tools.gpu_stages")
"""What Python is told to run a stage, before its name and options."""


def main(arguments: list[str] | None = None) -> int:
    """Run the stages that are missing; the exit status: 0 if none has failed and none is missing."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.gpu_day",
        description=__doc__,
        epilog=WHEELS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small models: that it runs, not how fast")
    parser.add_argument("--minutes", type=float, default=30.0, help="for all stages of this call together")
    parser.add_argument("--stages", help="only these, by name, with commas between; made again")
    parser.add_argument("--retry", action="store_true", help="make those that have failed again")
    options = parser.parse_args(arguments)
    names = [stage.name for stage in STAGES]
    only = options.stages.split(",") if options.stages else []
    if unknown := [name for name in only if name not in names]:
        parser.error(f"there is no stage {', '.join(unknown)}; there are {', '.join(names)}")
    if options.device == "cpu" and not options.tiny:
        parser.error("--device cpu needs --tiny: the whole is for a GPU")
    if options.minutes <= 0:
        parser.error(f"minutes is {options.minutes}; it must be positive")
    if (problem := _claim(options.out, {"device": options.device, "tiny": options.tiny})) is not None:
        parser.error(problem)
    deadline = time.monotonic() + 60 * options.minutes
    for stage in STAGES:
        found = read(options.out, stage.name)
        done = found.get("status") in FINAL
        again = stage.name in only or (options.retry and found.get("status") == "FAIL")
        if (only and stage.name not in only) or (done and not again):
            if done and not only:
                print(f"{stage.name:<15}{found['status']} before", flush=True)
            continue
        left = deadline - time.monotonic()
        limit = min(stage.limit * (ON_CPU if options.device == "cpu" else 1), left)
        if left < LEAST:
            print(f"{stage.name:<15}not begun: {options.minutes:g} minutes are over", flush=True)
            continue
        print(f"{stage.name:<15}... at most {limit:.0f} s: {stage.title}", flush=True)
        found = run_stage(options.out, stage, options.device, options.tiny, limit)
        print(f"{stage.name:<15}{found['status']} {found['reason']}", flush=True)
        write_summary(options.out)
    write_summary(options.out)
    results = [read(options.out, name) for name in names]
    print(f"written {options.out / 'summary.md'}")
    return 0 if all(found.get("status") in ("PASS", "SKIP") for found in results) else 1


def run_stage(out: Path, stage: Stage, device: str, tiny: bool, limit: float) -> dict[str, Any]:
    """Run a stage as a process of its own and see that its file has an end, whatever becomes of it."""
    path = out / "stages" / f"{stage.name}.json"
    path.unlink(missing_ok=True)
    words = [sys.executable, *RUNNER, stage.name, "--out", str(out), "--device", device]
    words += ["--tiny"] if tiny else []
    environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "PYTHONUNBUFFERED": "1"}
    begun, why = time.monotonic(), ""
    with (out / "stages" / f"{stage.name}.log").open("w") as log:
        # A session of its own, so that whatever it has started can be ended with it.
        process = subprocess.Popen(
            words, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
        try:
            code = process.wait(limit)
            if code != 0:
                why = f"died with exit status {code}: {_last_line(Path(log.name))}"
        except subprocess.TimeoutExpired:
            why = f"was ended after its limit of {limit:.0f} s"
        finally:
            _end(process)
    found = read(out, stage.name)
    if found.get("status") not in FINAL:
        found |= {"status": "FAIL", "reason": why or "ended without a result"}
    found |= {"stage": stage.name, "seconds": round(time.monotonic() - begun, 1), "commit": _commit()}
    _write(path, found)
    return found


def read(out: Path, name: str) -> dict[str, Any]:
    """What is known of a stage; nothing if it is missing or its file is broken."""
    try:
        found = json.loads((out / "stages" / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_summary(out: Path) -> None:
    """Write gpu_day.json and summary.md from what the stages have left."""
    found = {stage.name: read(out, stage.name) for stage in STAGES}
    _write(out / "gpu_day.json", {name: entry for name, entry in found.items() if entry})
    lines = ["# What a GPU said", "", *(f"- {line}" for line in _machine(found)), ""]
    if json.loads((out / "settings.json").read_text(encoding="utf-8"))["tiny"]:
        lines += ["Small models, to see that every stage runs: no time in here means anything.", ""]
    lines += ["| stage | result | seconds | |", "|---|---|---|---|"]
    for stage in STAGES:
        entry = found[stage.name]
        reason = str(entry.get("reason", stage.title)).replace("|", "\\|")
        lines.append(
            f"| {stage.name} | {entry.get('status', 'missing')} | {entry.get('seconds', '')} | {reason} |"
        )
    for stage in STAGES:
        entry = found[stage.name]
        if not entry:
            continue
        lines += ["", f"## {stage.name}: {stage.title}", ""]
        checks = entry.get("checks", [])
        if checks:
            lines += ["| check | value | wanted | |", "|---|---|---|---|"]
            lines += [
                f"| {check['name']} | {_short(check['value'])} | {check['wanted']} | {check['result']} |"
                for check in checks
            ]
        if table := entry.get("table"):
            lines += ["", "```", *table, "```"]
    _replace(out / "summary.md", "\n".join(lines) + "\n")


def _machine(found: dict[str, dict[str, Any]]) -> list[str]:
    about = found.get("imports", {}).get("results", {}).get("machine", {})
    commits = sorted({entry["commit"] for entry in found.values() if entry.get("commit")})
    return [f"{name}: {value}" for name, value in about.items()] + [f"commit: {', '.join(commits) or '?'}"]


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _claim(out: Path, settings: dict[str, Any]) -> str | None:
    """Begin a folder, or say why it cannot go on with these settings."""
    (out / "stages").mkdir(parents=True, exist_ok=True)
    path = out / "settings.json"
    if path.exists():
        there = json.loads(path.read_text(encoding="utf-8"))
        if there != settings:
            return f"{out} was begun with {there}, not {settings}: choose another --out"
    _write(path, settings)
    return None


def _commit() -> str:
    asked = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a stage and all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_line(path: Path) -> str:
    lines = [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"


def _write(path: Path, value: Any) -> None:
    _replace(path, json.dumps(value, indent=1) + "\n")


def _replace(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


if __name__ == "__main__":
    sys.exit(main())
