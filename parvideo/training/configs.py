"""The configs of `parvideo fit` before they are parsed: errors name the file, and old names are read too."""

from itertools import pairwise

import yaml

from parvideo.files import check_file
from parvideo.transformer.model import RENAMED

OLD_SETTINGS = {"model": RENAMED, "costs": RENAMED}
"""In which parts of a config settings have other names now."""


def read_configs(arguments: list[str]) -> list[str]:
    """The arguments by today's names of settings; a config that has old ones is replaced by its text.

    Raises:
        OSError, ValueError: naming the file, for a config that cannot be read or is no YAML.
    """
    words = [name for word in arguments for name in _split_config(word)]
    for place, (before, word) in enumerate(pairwise(["", *words])):
        if before in ("--config", "-c"):
            words[place] = _config_by_current_names(word)
    return [_option_by_current_name(word) for word in words]


def _split_config(word: str) -> list[str]:
    return ["--config", word.partition("=")[2]] if word.startswith("--config=") else [word]


def _config_by_current_names(name: str) -> str:
    """A config's path, or its content if settings in it have old names."""
    path = check_file(name)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise ValueError(f"{path} is no YAML: {error.problem} in line {line}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no YAML: {error}") from error
    found = False
    for section, renamed in OLD_SETTINGS.items():
        settings = content.get(section) if isinstance(content, dict) else None
        inner = settings.get("init_args") if isinstance(settings, dict) else None
        for level in (settings, inner):
            if not isinstance(level, dict):
                continue
            for old in renamed.keys() & level.keys():
                level[renamed[old]], found = level.pop(old), True
    return yaml.safe_dump(content) if found else name


def _option_by_current_name(word: str) -> str:
    name, equals, value = word.partition("=")
    for section, renamed in OLD_SETTINGS.items():
        for old, new in renamed.items():
            if name in (f"--{section}.{old}", f"--{section}.init_args.{old}"):
                name = name.removesuffix(old) + new
    return name + equals + value
