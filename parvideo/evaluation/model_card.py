"""Model cards: what a model folder holds, and what was measured of it, as the README.md that the Hub shows.

Everything in a card is read: from the folder, from the reports of `parvideo evaluate` on this very model (by
the hashes of its weights) and from the run's config. What no file says comes from `CardNotes`.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from parvideo.evaluation.clip_formats import recorded_format
from parvideo.evaluation.report import read_report
from parvideo.evaluation.sources import tokenizer_folder
from parvideo.files import AnyPath, check_file
from parvideo.pretrained import folder as model_folder
from parvideo.sampling import SamplingConfig
from parvideo.version import __version__

PAPER = "[Parallelized Autoregressive Visual Generation](https://arxiv.org/abs/2412.15119)"

_UCF101 = (
    "UCF-101 (Soomro, Zamir and Shah, CRCV-TR-12-01, 2012) was collected from YouTube. No licence comes with "
    "it: the rights in the videos stay with those who made them, and none is granted here. Whoever uses this "
    "model, or the clips it makes, for more than research has to settle that first."
)
DATA = {
    "ucf101": f"Training split 1 of UCF-101: 9,537 videos of 101 classes of human action. {_UCF101}",
    "ucf101-six": "Training split 1 of UCF-101 in six of its classes: Archery, BasketballDunk, HorseRace, "
    f"PlayingPiano, PlayingViolin and Surfing. {_UCF101}",
    "synthetic": "Clips drawn by `parvideo toy-data`. They touch nobody's rights, and show nothing real.",
}
"""Data sets by their key: what they are, and what their licence does not allow."""

_NO_DATA = "The folder does not record which videos it was trained on, so neither do we know their licence."
_SHOWN = 12
"""Classes that are listed one by one."""


@dataclass(frozen=True)
class CardNotes:
    """What a model folder does not say of itself.

    Attributes:
        data: what it was trained on and what its licence allows: a key of `DATA`, or sentences.
        license: of the weights, by the Hub's identifier, such as ``apache-2.0``.
        reports: files that `parvideo evaluate` wrote of this model.
        config: YAML of the training run; by default the config.yaml that `parvideo fit` left in the run
            folder around the model.
        command: with which it was trained, if other than ``parvideo fit --config``.
        limits: sentences on what it cannot do, after those that follow from the folder.
    """

    data: str = ""
    license: str | None = None
    reports: Sequence[AnyPath] = ()
    config: AnyPath | None = None
    command: str = ""
    limits: Sequence[str] = ()


def model_card(folder: AnyPath, name: str, notes: CardNotes | None = None) -> str:
    """The card of a model folder, as Markdown under YAML front matter.

    Args:
        folder: a generator's or a tokenizer's model folder, or the run folder around one; it is loaded, so
            that a card stands for a model that can be.
        name: what a reader gives to ``--model``: ``owner/name`` on the Hub, or a folder of a checkout.
        notes: what the folder does not say.

    Raises:
        FileNotFoundError: if there is no model folder, report or config.
        ValueError: if the model does not load, a report is of another model, or the config is none.
    """
    notes = notes or CardNotes()
    home = model_folder.find_folder(folder)
    generator = model_folder.load_kind(home) == "generator"
    reports = [_own_report(path, home) for path in notes.reports]
    main = model_folder.load_orders(home)[0].name if generator else ""
    parts = [
        _what_it_is(home, name, generator),
        f"## Data\n\n{DATA.get(notes.data, notes.data) or _NO_DATA}",
        _figures(reports, main),
        _how_to_use(home, name, generator, reports),
        _training(home, notes),
        _limits(home, generator, reports, notes),
    ]
    return f"---\n{_front_matter(name, main, reports, notes)}---\n\n" + "\n\n".join(parts) + "\n"


def _front_matter(name: str, main: str, reports: Sequence[dict[str, Any]], notes: CardNotes) -> str:
    kind = ["class-conditional", "autoregressive"] if main else ["video-tokenizer"]
    matter: dict[str, Any] = {"library_name": "parvideo"}
    if notes.license is not None:
        matter["license"] = notes.license
    matter["tags"] = ["parvideo", "video-generation", *kind]
    if reports:
        known = notes.data in DATA
        data = {"name": notes.data, "type": notes.data} if known else {"name": "own videos", "type": "custom"}
        metrics = [
            {
                "type": report["metric"].lower(),
                "name": f"{report['metric']} ({report['protocol']['name']}, {_setting(report, main)})",
                "value": round(float(report["fvd"]), 4),
            }
            for report in reports
        ]
        task = {"type": "video-generation" if main else "video-reconstruction"}
        result = {"task": task, "dataset": data, "metrics": metrics}
        matter["model-index"] = [{"name": name.rpartition("/")[2], "results": [result]}]
    return yaml.safe_dump(matter, sort_keys=False, allow_unicode=True)


def _what_it_is(home: Path, name: str, generator: bool) -> str:
    tokenizer = model_folder.load_tokenizer(home)
    form = recorded_format(home)
    shape: tuple[int, int, int] | None = None
    grid: tuple[int, int, int] | None = None
    if generator:
        transformer = model_folder.load_transformer(home)
        classes, orders = model_folder.load_class_names(home), model_folder.load_orders(home)
        shape, grid = tokenizer.clip_shape(transformer.grid), transformer.grid
        what = (
            f"It generates video clips of {len(classes)} classes by {PAPER} (PAR): tokens that lie far apart "
        )
        what += "are drawn together, one of every region of the grid a step."
    else:
        shape = (form.frames, form.size, form.size) if form.frames and form.size else None
        grid = tokenizer.latent_grid(shape) if shape else None
        what = "It turns video clips into tokens, causally in time, and tokens into clips again."
    rows = []
    if shape and grid:
        rate = f", {form.fps:g} frames a second" if form.fps else ""
        rows.append(("clips", f"{shape[0]} frames of {shape[1]}x{shape[2]} pixels{rate}"))
        count = grid[0] * grid[1] * grid[2]
        rows.append(
            (
                "tokens of a clip",
                f"{'x'.join(map(str, grid))} = {count:,} of {tokenizer.codebook_size:,} codes",
            )
        )
    if generator:
        rows.append(("transformer", f"{_parameters(transformer):,} parameters"))
        listed = ", ".join(classes[:_SHOWN])
        rows.append(
            ("classes", listed + (f", ... (`{model_folder.CLASSES}`)" if len(classes) > _SHOWN else ""))
        )
        speeds = [f"{order.name} ({order.steps} steps)" for order in orders]
        rows.append(("orders, the main one first", ", ".join(speeds)))
    rows.append(("tokenizer", f"{type(tokenizer).__name__}, {_parameters(tokenizer):,} parameters"))
    rows.append(("SHA-256 of the model", f"`{model_folder.fingerprint(home)}`"))
    rows.append(("made with", f"parvideo {__version__}"))
    title = name.rpartition("/")[2]
    return "\n".join([f"# {title}\n", f"{what}\n", "| | |", "|---|---|", *map(_row, rows)])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _parameters(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _own_report(path: AnyPath, home: Path) -> dict[str, Any]:
    """A report, once it is known to be of this model."""
    report = read_report(path)
    made = report.get("generated")
    made = made if isinstance(made, dict) else {}
    sample = made.get("sample")
    scored = made.get("generator") or (sample or {}).get("model") or made.get("fingerprint")
    if scored is None:
        raise ValueError(
            f"{path} does not say which model made its clips, so it is no evidence for {home}; evaluate with "
            "--model, or clips that `parvideo sample` wrote"
        )
    own = {model_folder.fingerprint(home)}
    if made.get("fingerprint"):
        own = {model_folder.fingerprint(tokenizer_folder(home))}
    if scored not in own:
        raise ValueError(f"{path} is a report of another model ({scored[:12]}), not of {home}")
    return report


def _sampling(report: dict[str, Any]) -> dict[str, Any]:
    made = report["generated"]
    sampling = made.get("sampling") or (made.get("sample") or {}).get("sampling")
    return sampling if isinstance(sampling, dict) else {}


def _order(report: dict[str, Any]) -> str | None:
    """The order that the scored clips were generated in; None for the main one."""
    made = report["generated"]
    sample = made.get("sample") or {}
    regions = sample.get("regions")
    order = made.get("order") or sample.get("order") or (regions and "x".join(map(str, regions)))
    return str(order) if order else None


def _options(report: dict[str, Any]) -> dict[str, str]:
    """What was set otherwise than `parvideo sample` does by itself, as its options."""
    sampling, plain = _sampling(report), SamplingConfig().to_dict()
    options = {}
    for field in fields(SamplingConfig):
        value = sampling.get(field.name, plain.get(field.name))
        if isinstance(value, list | tuple):
            value = ",".join(f"{part:g}" for part in value)
        default = plain.get(field.name)
        default = ",".join(f"{part:g}" for part in default) if isinstance(default, tuple) else default
        if value != default and field.name != "seed":
            options[field.name] = f"{value:g}" if isinstance(value, float) else str(value)
    return options


def _setting(report: dict[str, Any], main: str) -> str:
    """How clips were made, in a cell of a table."""
    if report["metric"] == "rFVD":
        return "reconstructions"
    words = [
        _order(report) or main,
        *(f"{name.replace('_', ' ')} {value}" for name, value in _options(report).items()),
    ]
    return ", ".join(words)


def _figures(reports: Sequence[dict[str, Any]], main: str) -> str:
    if not reports:
        return "## Figures\n\nNone: no report of `parvideo evaluate` came with this card."
    parts = ["## Figures"]
    for hash_ in dict.fromkeys(report["protocol_hash"] for report in reports):
        alike = [report for report in reports if report["protocol_hash"] == hash_]
        parts.append(_protocol(alike[0]))
        rows = ["| clips | metric | value | standard error | at infinity | held-out split | class read |"]
        rows.append("|---|---|---|---|---|---|---|")
        for report in alike:
            first, held, read = report["repeats"][0], report.get("held_out"), report.get("class_accuracy")
            cells = [
                _setting(report, main),
                report["metric"],
                _number(report["fvd"]),
                _number(first.get("standard_error")),
                _number(first.get("fvd_infinity")),
                _number(held["fvd"]) if held else "-",
                f"{read['generated']['accuracy']:.1%}" if isinstance(read, dict) else "-",
            ]
            rows.append(_row(cells))
        parts.append("\n".join(rows))
        said = [alike[0].get("comparability", "")]
        warnings = dict.fromkeys(text for report in alike for text in report.get("warnings", []))
        said += [f"Warning: {text}." for text in warnings]
        parts.append("\n".join(f"- {line}" for line in said if line))
    return "\n\n".join(parts)


def _protocol(report: dict[str, Any]) -> str:
    protocol, first = report["protocol"], report["repeats"][0]
    rate = (
        f"stride {protocol['stride']}" if protocol.get("stride") else f"{protocol.get('fps')} frames a second"
    )
    name, count = f"`{protocol['name']}` (SHA-256 {report['protocol_hash'][:12]})", protocol["frames"]
    return (
        f"Protocol {name}: {count} frames "
        f"of {protocol['size']}x{protocol['size']} pixels at {rate}, {first['real_count']} real clips "
        f"({protocol['split']} split) against {first['fake_count']}; features "
        f"`{str(report['extractor']['fingerprint'])[:24]}`."
    )


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3g}"


def _how_to_use(home: Path, name: str, generator: bool, reports: Sequence[dict[str, Any]]) -> str:
    word = shlex.quote(name)
    if not generator:
        command = f"parvideo reconstruct VIDEO --tokenizer {word} --out out"
        return (
            f"## Use\n\n```\n{command}\nparvideo tokenize --tokenizer {word} --data VIDEOS --out tokens\n```"
        )
    asked = model_folder.load_class_names(home)[0]
    best = min((report for report in reports if report["metric"] == "FVD"), key=_fvd, default=None)
    options = {} if best is None else _options(best)
    more = "".join(f" --{key.replace('_', '-')} {value}" for key, value in options.items())
    config = ", ".join(f"{key}={_literal(value)}" for key, value in options.items())
    words = f", config=SamplingConfig({config})" if config else ""
    if best is not None and _order(best):
        more += f" --order {_order(best)}"
        words += f", order={_order(best)!r}"
    lines = [
        "## Use",
        "",
        "```",
        f"parvideo sample --model {word} --class {shlex.quote(asked)} --num 4 --seed 0{more} --out samples",
        "```",
        "",
        "```python",
        f"from parvideo import {'SamplingConfig, ' if config else ''}VideoPipeline",
        "",
        f"pipe = VideoPipeline.from_pretrained({name!r})",
        f"clips = pipe.generate([{asked!r}], num_per_class=4, seed=0{words})",
        "```",
    ]
    if more:
        lines += ["", "Both sample as for the lowest FVD above."]
    return "\n".join(lines)


def _literal(value: str) -> str:
    """An option's value in Python."""
    try:
        numbers = [float(part) for part in value.split(",")]
    except ValueError:
        return repr(value)
    return value if len(numbers) == 1 else f"({', '.join(value.split(','))})"


def _fvd(report: dict[str, Any]) -> float:
    return float(report["fvd"])


def _training(home: Path, notes: CardNotes) -> str:
    path = notes.config
    if path is None and (home.parent / "config.yaml").is_file():
        path = home.parent / "config.yaml"
    lines = ["## Training"]
    if path is None and not notes.command:
        return "\n\n".join([*lines, "No config came with the folder."])
    command = notes.command or "parvideo fit --config config.yaml --out RUN"
    lines.append(f"```\n{command}\n```")
    if path is not None:
        lines.append(f"with the config\n\n```yaml\n{_config_text(check_file(path))}```")
    return "\n\n".join(lines)


def _config_text(path: Path) -> str:
    """What decides a training run: without what was left open, and without the folders of who ran it."""
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(config, dict) or "model" not in config:
        raise ValueError(f"{path} is no config of `parvideo fit`: it names no model")
    keys = ("seed_everything", "model", "data", "trainer", "checkpoint_every", "ema_decay", "global_batch")
    kept = {key: _public(config[key]) for key in keys if config.get(key) is not None}
    return yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)


def _public(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _public(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_public(inner) for inner in value]
    if isinstance(value, str) and value.startswith(("/", "~")):
        return f".../{Path(value).name}"
    return value


def _limits(home: Path, generator: bool, reports: Sequence[dict[str, Any]], notes: CardNotes) -> str:
    lines = []
    if generator:
        frames = model_folder.load_orders(home)[0].grid[0]
        lines.append("It knows the classes above, by name, and no text.")
        lines.append(
            f"It was trained on clips of {frames} latent frames; longer ones come from a sliding window, and "
            "no figure here speaks of them."
        )
    if not reports:
        lines.append("Nothing was measured of it here.")
    elif not any(report["comparable_with_published"] for report in reports):
        lines.append("Its figures compare with none that is published elsewhere (see what each table says).")
    if not notes.data:
        lines.append("What its training data allow is not known.")
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in [*lines, *notes.limits])
