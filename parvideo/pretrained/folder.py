"""Model folders: a trained tokenizer or generator on disk, `config.json` beside `weights.safetensors`.

Nothing from a file is executed: weights are safetensors, and the configuration names one of parvideo's own
classes. A generator's folder also holds `tokenizer/`, the model folder of its tokenizer, and `classes.json`.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from parvideo.datasets.clip_format import NAMES, UNKNOWN, ClipFormat
from parvideo.files import AnyPath, atomic_path, read_json, sha256_file, sha256_json, write_json
from parvideo.order import GenerationOrder
from parvideo.pretrained import hub
from parvideo.pretrained.orders import order_data, read_transformer_config
from parvideo.state_dicts import read_safetensors
from parvideo.tokenizer import TOKENIZERS, VideoTokenizer
from parvideo.transformer import VideoTransformer
from parvideo.transformer.model import RENAMED
from parvideo.version import __version__

CONFIG, WEIGHTS, CLASSES, TOKENIZER = "config.json", "weights.safetensors", "classes.json", "tokenizer"
_MORE = (CLASSES, f"{TOKENIZER}/{CONFIG}", f"{TOKENIZER}/{WEIGHTS}")
"""What a generator's folder has beside its configuration and weights."""
FORMAT = 2
"""Format 1 kept a generator's order in its transformer's configuration, index by index; it is still read."""


def save_folder(
    folder: AnyPath,
    kind: str,
    class_name: str,
    config: Mapping[str, Any],
    state: Mapping[str, Tensor],
    clip_format: ClipFormat = UNKNOWN,
    extra: Mapping[str, Any] | None = None,
    orders: Sequence[GenerationOrder] = (),
) -> None:
    """Write a model folder; each file is replaced in one step.

    Args:
        folder: made if absent.
        kind: ``"tokenizer"`` or ``"generator"``.
        class_name: of the module.
        config: its constructor arguments, JSON-able.
        state: its state dict.
        clip_format: of the clips that the model was trained on.
        extra: anything else that a reader may want to know, JSON-able.
        orders: of a generator, its main one first.

    Raises:
        ValueError: if ``extra`` holds what ``clip_format`` says.
    """
    for name in NAMES:
        if name in (extra or {}):
            raise ValueError(f"extra holds {name}; give it as clip_format=ClipFormat({name}=...)")
    folder = Path(folder)
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    with atomic_path(folder / WEIGHTS) as temporary:
        save_file(tensors, temporary)
    document: dict[str, Any] = {"format": FORMAT, "parvideo": __version__, "kind": kind, "class": class_name}
    document |= {"config": dict(config), "clip_format": clip_format.to_dict(), "extra": dict(extra or {})}
    if orders:
        document["orders"] = [order_data(order) for order in orders]
    write_json(folder / CONFIG, document)


def save_tokenizer(
    folder: AnyPath,
    tokenizer: VideoTokenizer,
    state: Mapping[str, Tensor] | None = None,
    clip_format: ClipFormat = UNKNOWN,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write a tokenizer's model folder, with ``state`` (such as averaged weights) in place of its own."""
    weights = tokenizer.state_dict() if state is None else state
    save_folder(folder, "tokenizer", type(tokenizer).__name__, tokenizer.config, weights, clip_format, extra)


def save_generator(
    folder: AnyPath,
    transformer: VideoTransformer,
    class_names: list[str],
    tokenizer: AnyPath,
    orders: Sequence[GenerationOrder],
    state: Mapping[str, Tensor] | None = None,
    clip_format: ClipFormat = UNKNOWN,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write a generator's model folder: transformer, class names, and a copy of its tokenizer's folder.

    Args:
        folder: made if absent.
        transformer: for its configuration, and its weights unless ``state`` is given.
        class_names: in label order.
        tokenizer: the model folder of the tokenizer of its tokens.
        orders: that it was trained in, the main one first.
        state: weights in place of its own, such as averaged ones.
        clip_format: of the clips that it was trained on.
        extra: see `save_folder`.

    Raises:
        ValueError: if the number of class names is not the transformer's, ``tokenizer`` is no tokenizer, or
            there is no order or one of another grid.
    """
    if not orders or any(order.grid != transformer.grid for order in orders):
        raise ValueError(
            f"orders must be one or more on the transformer's grid {transformer.grid}, "
            f"got grids {[order.grid for order in orders]}"
        )
    if len(class_names) != transformer.num_classes:
        raise ValueError(
            f"class_names has {len(class_names)} names; the transformer has {transformer.num_classes} classes"
        )
    folder = Path(folder)
    copy_tokenizer(tokenizer, folder / TOKENIZER)
    write_json(folder / CLASSES, class_names)
    weights = transformer.state_dict() if state is None else state
    name, config = type(transformer).__name__, transformer.config
    save_folder(folder, "generator", name, config, weights, clip_format, extra, orders)


def copy_tokenizer(source: AnyPath, target: AnyPath) -> None:
    """Copy a tokenizer's model folder; an equal copy that is there already is left alone.

    The copy of one that was fetched from the Hub says so (``source``: owner/name@commit).

    Raises:
        ValueError: if ``source`` holds something else.
    """
    source, target = find_folder(source), Path(target)
    _read_config(source, "tokenizer")
    if (target / CONFIG).is_file() and fingerprint(target) == fingerprint(source):
        return
    with atomic_path(target / WEIGHTS) as temporary:
        temporary.write_bytes((source / WEIGHTS).read_bytes())
    document = read_json(source / CONFIG)
    if (fetched := hub.origin(source)) is not None:
        document["extra"] = {**document["extra"], "source": fetched}
    write_json(target / CONFIG, document)


def load_tokenizer(folder: AnyPath, device: str | torch.device = "cpu") -> VideoTokenizer:
    """Load a tokenizer, in eval mode, from its model folder, a run folder, or a generator's folder.

    Raises:
        FileNotFoundError: if there is no model folder.
        ValueError: if it holds something else, or weights that do not fit.
    """
    folder = find_tokenizer(folder)
    document = _read_config(folder, "tokenizer")
    if document["class"] not in TOKENIZERS:
        known = ", ".join(TOKENIZERS)
        raise ValueError(
            f"{folder / CONFIG}: no tokenizer is called {document['class']!r}; there are {known}"
        )
    with torch.device(device):
        tokenizer = _build(folder, lambda config: TOKENIZERS[document["class"]](**config), document["config"])
    _load_weights(folder, tokenizer, device)
    assert isinstance(tokenizer, VideoTokenizer)
    return tokenizer.eval()


def load_transformer(folder: AnyPath, device: str | torch.device = "cpu") -> VideoTransformer:
    """Load a transformer, in eval mode, from a generator's model folder or a run folder.

    The weights in the file become the transformer's: nothing is initialised first, so that it takes the
    memory of one copy.

    Raises:
        FileNotFoundError: if there is no model folder.
        ValueError: if it holds something else, or weights that do not fit.
    """
    folder = find_folder(folder)
    document = _read_config(folder, "generator")
    config, _ = _transformer_config(folder, document)
    with torch.device("meta"):  # shapes alone
        transformer = _build(folder, VideoTransformer.from_config, config)
    _load_weights(folder, transformer, device, assign=True)
    assert isinstance(transformer, VideoTransformer)
    return transformer.eval()


def load_orders(folder: AnyPath) -> list[GenerationOrder]:
    """The orders that a generator was trained in, the main one first.

    Raises:
        FileNotFoundError: if there is no model folder.
        ValueError: if it holds something else, or what it names are no orders.
    """
    folder = find_folder(folder)
    return _transformer_config(folder, _read_config(folder, "generator"))[1]


def _transformer_config(
    folder: Path, document: Mapping[str, Any]
) -> tuple[dict[str, Any], list[GenerationOrder]]:
    orders = document.get("orders", document["extra"].get("orders", []))
    try:
        config, read = read_transformer_config(document["config"], orders)
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f"{folder / CONFIG} describes no valid model or order: {error}") from error
    if not read:
        raise ValueError(f"{folder / CONFIG} names no order (orders)")
    return config, read


def load_kind(folder: AnyPath) -> str:
    """What a model folder holds: ``"tokenizer"`` or ``"generator"``.

    Raises:
        FileNotFoundError: if there is no model folder.
        ValueError: if its configuration is none of ours.
    """
    return str(_read_config(find_folder(folder))["kind"])


def load_class_names(folder: AnyPath) -> list[str]:
    """The class names of a generator's folder, in label order.

    Raises:
        ValueError: if the file is no list of names.
    """
    path = find_folder(folder) / CLASSES
    names = read_json(path)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{path} must be a list of class names")
    return names


def load_extra(folder: AnyPath) -> dict[str, Any]:
    """What `save_folder` was given as ``extra``."""
    extra = _read_config(find_folder(folder))["extra"]
    return {name: value for name, value in extra.items() if name not in NAMES}  # there in older folders


def add_note(folder: AnyPath, name: str, value: Any) -> None:
    """Add something to a model folder's ``extra``; the model and its `fingerprint` stay the same.

    Args:
        folder: a model folder.
        name: of what is added; what had that name is replaced.
        value: JSON-able.
    """
    folder = find_folder(folder)
    document = _read_config(folder)
    write_json(folder / CONFIG, {**document, "extra": {**document["extra"], name: value}})


def load_clip_format(folder: AnyPath) -> ClipFormat:
    """The clips that a model was trained on, as far as its folder says.

    Folders of before ``clip_format`` was a field of its own say it in ``extra``.

    Raises:
        FileNotFoundError: if there is no model folder.
        ValueError: if it holds something else, or what it says is no format.
    """
    folder = find_folder(folder)
    document = _read_config(folder)
    try:
        return ClipFormat.from_dict(document.get("clip_format") or document["extra"])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{folder / CONFIG}: clip_format: {error}") from error


def find_folder(folder: AnyPath, revision: str | None = None) -> Path:
    """The model folder meant by ``folder``: the one place that knows where a model is.

    Args:
        folder: a model folder, or a run's folder with ``model/`` in it; where there is no such folder,
            ``owner/name`` or ``owner/name@revision`` on the Hub, whose files are fetched
            (`parvideo.pretrained.hub`).
        revision: branch, tag or commit on the Hub.

    Raises:
        FileNotFoundError: if there is neither; the message says what is there.
        ConnectionError: if the Hub cannot be asked.
        ValueError: if what the Hub has is no model of ours, or a revision is given of a folder on this disk.
    """
    name = str(folder) if revision is None else f"{folder}@{revision}"
    folder = Path(folder)
    if revision is not None and folder.exists():
        raise ValueError(
            f"revision is {revision!r}, but {folder} lies on this disk and has none; leave it out"
        )
    for candidate in (folder, folder / "model"):
        if (candidate / CONFIG).is_file():
            return candidate
    if not folder.is_dir():
        model = None if folder.exists() else hub.parse(name)
        if model is None:
            raise FileNotFoundError(
                f"there is no folder {name}, and no model on the Hub is called so (but owner/name or "
                "owner/name@revision)"
            )
        return hub.fetch(model, (CONFIG, WEIGHTS), _MORE)
    inside = ", ".join(sorted(entry.name for entry in folder.iterdir())[:8]) or "nothing"
    raise FileNotFoundError(
        f"{folder} is no model folder: it holds neither {CONFIG} nor model/{CONFIG}, but {inside}"
    )


def model_files(folder: AnyPath) -> dict[str, Path]:
    """The files that a model folder consists of, by their path in it, once they are known to load.

    Raises:
        FileNotFoundError: if there is no model folder, or a file is missing.
        ValueError: if they do not fit together.
    """
    folder = find_folder(folder)
    load_tokenizer(folder)
    if load_kind(folder) == "tokenizer":
        return {name: folder / name for name in (CONFIG, WEIGHTS)}
    load_transformer(folder), load_class_names(folder), load_orders(folder)
    return {name: folder / name for name in (CONFIG, WEIGHTS, *_MORE)}


def find_tokenizer(folder: AnyPath) -> Path:
    """The tokenizer's model folder: `find_folder`'s own, or the one inside a generator's."""
    folder = find_folder(folder)
    return folder / TOKENIZER if _read_config(folder)["kind"] == "generator" else folder


def fingerprint(folder: AnyPath) -> str:
    """SHA-256 over class, configuration, orders and weights: equal for the same model alone."""
    folder = find_folder(folder)
    document = _read_config(folder)
    names = ("class", "config", "orders")  # a format 1's configuration holds the order itself
    identity = {name: document[name] for name in names if name in document}
    # Under their first names, so that folders written before and after a setting was renamed are alike.
    first = {new: old for old, new in RENAMED.items()}
    identity["config"] = {first.get(name, name): value for name, value in document["config"].items()}
    return hashlib.sha256((sha256_json(identity) + sha256_file(folder / WEIGHTS)).encode()).hexdigest()


def _read_config(folder: Path, kind: str | None = None) -> dict[str, Any]:
    path = folder / CONFIG
    document = read_json(path)
    if (
        not isinstance(document, dict)
        or not {"format", "kind", "class", "config", "extra"} <= document.keys()
        or not all(isinstance(document[name], str) for name in ("kind", "class"))
        or not all(isinstance(document[name], dict) for name in ("config", "extra"))
        or not isinstance(document.get("clip_format", {}), dict)
    ):
        raise ValueError(f"{path} is no configuration of a parvideo model")
    if document["format"] not in (1, FORMAT):
        raise ValueError(f"{path} has format {document['format']}; this parvideo reads 1 and {FORMAT}")
    if kind is not None and document["kind"] != kind:
        raise ValueError(f"{folder} holds a {document['kind']}, not a {kind}")
    return document


def _build(folder: Path, build: Any, config: Mapping[str, Any]) -> nn.Module:
    try:
        module: nn.Module = build(config)
    except (TypeError, ValueError, KeyError) as error:
        raise ValueError(f"{folder / CONFIG} describes no valid model: {error}") from error
    return module


def _load_weights(folder: Path, module: nn.Module, device: str | torch.device, assign: bool = False) -> None:
    path = folder / WEIGHTS
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; {CONFIG} alone is no model")
    state = read_safetensors(path, device=str(device))
    expected = module.state_dict()
    wrong = [f"{name} is missing" for name in expected.keys() - state.keys()]
    wrong += [f"{name} is not part of the model" for name in state.keys() - expected.keys()]
    wrong += [
        f"{name} is {list(tensor.shape)}, the model has {list(expected[name].shape)}"
        for name, tensor in state.items()
        if name in expected and tensor.shape != expected[name].shape
    ]
    if wrong:
        shown = "; ".join(sorted(wrong)[:4]) + (f"; and {len(wrong) - 4} more" if len(wrong) > 4 else "")
        raise ValueError(f"{path} does not fit {CONFIG}: {shown}")
    if assign:
        # A run in bfloat16 saves its own weights so; the module states what it computes in.
        state = {name: tensor.to(expected[name].dtype) for name, tensor in state.items()}
    module.load_state_dict(state, assign=assign)
