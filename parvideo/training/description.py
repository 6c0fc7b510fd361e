"""What a checkpoint says of its model and of what it was trained on, and how two such descriptions differ."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import lightning
import torch
from torch import Size

from parvideo.datasets.clip_format import ClipFormat
from parvideo.files import sha256_json
from parvideo.pretrained.orders import order_data, read_transformer_config
from parvideo.training.data import ClipDataModule, TokenDataModule
from parvideo.training.generator import GeneratorModule
from parvideo.training.tokenizer import TokenizerModule
from parvideo.transformer.model import current_names

FREE = frozenset({"dropout", "attention_dropout", "gradient_checkpointing", "checkpoint_activations"})
"""Settings in a model's configuration that another start of the run may change: no weight depends on them."""

_SHOWN = 60


def describe(module: lightning.LightningModule, data: Any) -> dict[str, Any]:
    """The model that ``module`` trains on ``data``, beside its weights: what a model folder states.

    The generator need not be built yet; the data must be set up.
    """
    if isinstance(module, GeneratorModule):
        spec = data.spec
        return {
            "kind": "generator",
            "config": _transformer(module, data).config,
            "class_names": spec.class_names,
            "tokenizer": str(spec.tokenizer.absolute()),
            "tokenizer_fingerprint": data.train_tokens.manifest.tokenizer,
            "orders": [order_data(order.build(spec.grid)) for order in module.order_specs],
            "clip_format": spec.clip_format.to_dict(),
        }
    if isinstance(module, TokenizerModule):
        return {
            "kind": "tokenizer",
            "class": type(module.tokenizer).__name__,
            "config": module.tokenizer.config,
            "clip_format": data.clip_format.to_dict() if isinstance(data, ClipDataModule) else {},
        }
    return {}


def training_set(data: Any) -> str | None:
    """A hash of the samples to train on and their order before shuffling; None of an unknown data module.

    Of tokens their content counts, by the checksums in their manifest; of videos their names and labels, so
    that a repaired file may take the place of a broken one.
    """
    if isinstance(data, TokenDataModule):
        shards = [[shard["count"], shard["sha256"]] for shard in data.train_tokens.checksums["shards"]]
        manifest = data.train_tokens.manifest
        return sha256_json([shards, manifest.ids, manifest.labels])
    if isinstance(data, ClipDataModule):
        clips = data.train_clips
        return sha256_json([[[record.id, record.label] for record, _ in clips.places()], clips.span])
    return None


def expected_shapes(module: lightning.LightningModule, data: Any) -> dict[str, Size]:
    """Name and shape of everything in the module's state dict, whether it is built or not."""
    if isinstance(module, GeneratorModule) and not hasattr(module, "transformer"):
        state = _transformer(module, data).state_dict(prefix="transformer.")
    else:
        state = module.state_dict()
    return {name: value.shape for name, value in state.items()}


def model_differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> Iterator[str]:
    """In words, where two descriptions are of different models; nothing where one does not say."""
    if there.get("kind") != here.get("kind"):
        yield f"it holds a {there.get('kind')} and the run trains a {here.get('kind')}"
        return
    if there.get("class") != here.get("class"):
        yield f"it holds a {there.get('class')} and the run trains a {here.get('class')}"
        return
    names = [description.get("class_names") for description in (there, here)]
    if names[0] != names[1]:
        yield _two("the classes are", *(", ".join(map(str, each or [])) for each in names))
    if there.get("tokenizer_fingerprint", here.get("tokenizer_fingerprint")) != here.get(
        "tokenizer_fingerprint"
    ):
        fingerprints = (str(each["tokenizer_fingerprint"])[:12] for each in (there, here))
        yield _two("the tokens' tokenizer is", *fingerprints)
    orders = [_order_names(each) if each["kind"] == "generator" else [] for each in (there, here)]
    if orders[0] != orders[1]:
        yield _two("the order is", *(", ".join(names) for names in orders))
    formats = [described_format(each) for each in (there, here)]
    for name in formats[0].differences(formats[1]):
        yield _two(f"{name} is", *(str(getattr(each, name)) for each in formats))
    one, two = (_plain(current_names(each["config"])) for each in (there, here))
    for name in one.keys() & two.keys() - FREE:
        if one[name] != two[name]:
            yield _two(f"{name} is", *_short(one[name], two[name]))


def shape_differences(there: Mapping[str, Size], here: Mapping[str, Size]) -> Iterator[str]:
    """In words, where weights are missing, are too many or have another shape."""
    for word, names in (("lacks", here.keys() - there.keys()), ("also has", there.keys() - here.keys())):
        if names:
            first = min(names)
            more = f" and {len(names) - 1} other weights" if len(names) > 1 else ""
            yield f"it {word} {first}{more}"
    for name in sorted(there.keys() & here.keys()):
        if there[name] != here[name]:
            yield _two(f"{name} is", str(list(there[name])), str(list(here[name])))
            return


def described_format(description: Mapping[str, Any]) -> ClipFormat:
    """The clips that a checkpoint's model was trained on; checkpoints of before say it in ``extra``."""
    return ClipFormat.from_dict(description.get("clip_format") or description.get("extra", {}))


def _transformer(module: GeneratorModule, data: TokenDataModule) -> Any:
    if hasattr(module, "transformer"):
        return module.transformer
    spec = data.spec
    with torch.device("meta"):  # configuration and shapes alone
        return module.make_transformer(spec.grid, spec.codebook_size, len(spec.class_names))


def _order_names(description: Mapping[str, Any]) -> list[str]:
    """The orders that a description names, whichever parvideo wrote it."""
    said = description.get("orders") or description.get("extra", {}).get("orders", [])
    return [order.name for order in read_transformer_config(description["config"], said)[1]]


def _two(what: str, there: str, here: str) -> str:
    return f"{what} {there} there and {here} here"


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _short(one: Any, two: Any) -> tuple[str, str]:
    """Both values as text, from shortly before the place where they differ if they are long."""
    texts = [json.dumps(value) for value in (one, two)]
    if isinstance(one, dict) and isinstance(two, dict):
        texts = [
            json.dumps({name: value for name, value in each.items() if value != other.get(name)})
            for each, other in ((one, two), (two, one))
        ]
    return tuple(text if len(text) <= _SHOWN else text[:_SHOWN] + "..." for text in texts)  # type: ignore[return-value]
