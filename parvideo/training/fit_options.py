"""The run's own settings of `parvideo fit`, beside those of Lightning and the classes; and its help."""

import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args


@dataclass(frozen=True)
class RunOption:
    """One setting of a run.

    Attributes:
        name: spelled with underscores; dashes are taken too.
        kind: its type.
        default: its value where it is not given.
        help: what it is.
    """

    name: str
    kind: Any
    default: Any
    help: str


RUN_OPTIONS = (
    RunOption("out", Path, Path("runs/fit"), "run folder"),
    RunOption("resume", str, "auto", "auto: from the newest good checkpoint; never; or a file"),
    RunOption("checkpoint_every", int, 500, "steps between checkpoints"),
    RunOption("ema_decay", float | None, None, "average weights with this decay, e.g. 0.999"),
    RunOption(
        "global_batch",
        int | None,
        None,
        "samples of an optimizer step over all devices; gradients are accumulated to reach it",
    ),
    RunOption("peak_tflops", float | None, None, "of one device, to log the MFU reached"),
    RunOption(
        "sample_every",
        int,
        0,
        "generate a few clips into the logs at every so many validations; 0 for never",
    ),
    RunOption("tensorboard", bool, True, "log to TensorBoard, beside the CSV files, in the run folder"),
    RunOption(
        "wandb",
        Literal["offline", "online"] | None,
        None,
        "log to Weights & Biases: offline, into the run folder for `wandb sync`, or online",
    ),
    RunOption("compile", str | None, None, "torch.compile's backend, such as inductor"),
    RunOption("exact_float32", bool, False, "on CUDA, multiply float32 exactly, not in TF32"),
)

OLD_NAMES = {"print_plan": "print_costs", "plan": "costs"}
"""What settings were called in the `config.yaml` that earlier versions wrote."""

DESCRIPTION = """Train a tokenizer or a generator. Configs stack: later ones, and options after them, win.
Options of the classes a config names are given as --model.lr or --data.root. The run folder (--out) holds
checkpoints, logs (CSV and TensorBoard, or --wandb), the config, and model/, which the other commands load.
The same command goes on where a stopped run was."""

_ELSEWHERE = (
    ("--config FILE", "a YAML config; may be repeated"),
    ("--model.NAME, --data.NAME", "of the classes that the config names"),
    ("--trainer.NAME", "of Lightning's trainer, such as --trainer.max_steps 1000"),
    ("--seed_everything N", "of everything random (default: 0)"),
    (
        "--print_costs",
        "print memory and time, and exit; --costs.NAME: what to assume without data",
    ),
    ("--print_config", "print the config that results, and exit"),
    ("--model.help CLASS", "the options of a model class; --data.help CLASS likewise"),
    ("--help_all", "every option, Lightning's own among them"),
)


def help_text() -> str:
    """What `parvideo fit --help` shows: at once, since nothing of Lightning is imported for it."""
    rows = [(f"--{o.name} {_value(o.kind)}", f"{o.help} (default: {o.default})") for o in RUN_OPTIONS]
    lines = ["usage: parvideo fit --config FILE [options]", "", DESCRIPTION, "", "options:"]
    for name, text in (*_ELSEWHERE[:1], *rows, *_ELSEWHERE[1:]):
        lines += textwrap.wrap(
            text, 100, initial_indent=f"  {name:<27} ", subsequent_indent=" " * 30, break_on_hyphens=False
        )
    return "\n".join(lines)


def _value(kind: Any) -> str:
    kinds = get_args(kind) or (kind,)
    words = [word for part in kinds for word in get_args(part)]
    if words:
        return "|".join(words)
    return {Path: "PATH", bool: "true|false"}.get(kind, "TEXT" if str in kinds else "NUMBER")
