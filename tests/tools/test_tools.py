"""Every tool starts as its help says that it is run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
    for path in (ROOT / "tools").rglob("*.py")
    if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", TOOLS)
def test_it_says_how_it_is_run(name: str) -> None:
    path = ROOT / name.replace(".", "/")
    source = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
    assert f'prog="python -m {name}"' in source.read_text(encoding="utf-8")


@pytest.mark.slow
def test_help_of_every_tool() -> None:
    assert len(TOOLS) >= 15
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for name in TOOLS:
        words = [sys.executable, "-m", name, "--help"]
        done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.startswith(f"usage: python -m {name}"), done.stdout[:200]
