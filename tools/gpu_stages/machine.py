"""Stages about the machine: what is installed, what it can do at most, whether tests that need it pass."""

import importlib
import platform
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from tools.gpu_stages.record import Record, Skipped

ROOT = Path(__file__).resolve().parents[2]
NEEDED = {
    "torch": "torch",
    "numpy": "numpy",
    "scipy": "scipy",
    "einops": "einops",
    "lightning": "lightning",
    "jsonargparse": "jsonargparse",
    "docstring_parser": "docstring_parser",
    "torchmetrics": "torchmetrics",
    "tensorboard": "tensorboard",
    "safetensors": "safetensors",
    "vector_quantize_pytorch": "vector-quantize-pytorch",
    "av": "av",
    "decord": "decord",
    "PIL": "pillow",
    "tqdm": "tqdm",
    "yaml": "PyYAML",
    "pytest": "pytest",
    "hypothesis": "hypothesis",
}
"""Module -> the wheel that brings it."""


def imports(record: Record) -> str:
    """Import every package; on CUDA see that there is a GPU, and a compiler for Inductor."""
    versions, missing = {}, []
    for module, wheel in NEEDED.items():
        try:
            importlib.import_module(module)
            versions[wheel] = metadata.version(wheel)
        except Exception as error:  # a package may die of another that is missing
            missing.append(f"{wheel} ({type(error).__name__}: {str(error)[:100]})")
        record.note(versions=versions, missing=missing)
    record.check("every package is there", not missing)
    if any(entry.startswith("torch ") for entry in missing):
        return f"missing: {'; '.join(missing)}"
    import torch

    from parvideo.benchmark.cuda import check_device, describe_device

    machine = {"python": platform.python_version(), "processors": platform.processor() or platform.machine()}
    problem = ""
    try:
        machine |= describe_device(check_device(record.device))
    except ValueError as error:
        problem = str(error)
    record.note(machine=machine)
    if record.device == "cuda":
        record.check("there is a GPU", not problem)
        record.check("bfloat16", not problem and torch.cuda.is_bf16_supported())
        try:
            importlib.import_module("triton")
            triton = True
        except ImportError:
            triton = False
        record.check("Triton, for what is compiled", triton)
        record.check("a C compiler, for Triton", shutil.which("cc") or shutil.which("gcc"))
    device = machine.get("device", "?")
    return f"missing: {'; '.join(missing)}" if missing else problem or f"{device}, torch {torch.__version__}"


def ceilings(record: Record) -> str:
    """Measure bandwidth and matrix products, which every roofline is of."""
    import torch

    from parvideo.benchmark.cuda import DTYPES, check_device, measure_ceilings

    device = check_device(record.device)
    torch.manual_seed(0)
    shown = []
    for name, dtype in DTYPES.items():
        found = measure_ceilings(device, dtype, record.tiny)
        record.note(**{name: {"bandwidth": found.bandwidth, "gemm": found.gemm}})
        shown.append(f"{name}: {found.bandwidth:.0f} GB/s, {found.gemm / 1e3:.1f} TFLOP/s")
        record.show(shown[-1])
        record.floor(f"{name}, memory GB/s", found.bandwidth, least=500)
    return "; ".join(shown)


def tests(record: Record) -> str:
    """Run the tests marked ``cuda``."""
    files = sorted(
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests").rglob("test_*.py")
        if "pytest.mark.cuda" in path.read_text(encoding="utf-8")
    )
    words = [sys.executable, "-m", "pytest", "-m", "cuda", "-rfE", "-p", "no:cacheprovider", *files]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = done.stdout.strip().splitlines()
    for line in lines[-12:]:
        record.show(line[:200])
    counts = {
        word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|skipped|errors?)", lines[-1])
    }
    record.note(files=files, counts=counts)
    if record.device == "cpu" and done.returncode == 0 and counts.get("skipped") and len(counts) == 1:
        raise Skipped(f"{counts['skipped']} tests need a GPU")
    record.check("pytest's exit status", done.returncode, most=0)
    record.check("tests that passed", counts.get("passed", 0), least=1)
    record.check("tests that were skipped", counts.get("skipped", 0), most=0)
    return lines[-1].strip() if lines else done.stderr.strip()[-300:]
