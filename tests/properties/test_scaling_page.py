"""docs/scaling.md holds what its commands print."""

import re
from pathlib import Path

import pytest

from parvideo.cli import main

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "scaling.md").read_text()
BLOCKS = re.findall(
    r"```\nparvideo (fit [^\n]* --print-costs)\n```\n\n```text\n(.*?)\n```", PAGE, flags=re.DOTALL
)


def test_there_are_plans_on_the_page() -> None:
    assert len(BLOCKS) >= 5


@pytest.mark.parametrize(("command", "printed"), BLOCKS)
def test_what_is_shown_is_what_is_printed(
    command: str,
    printed: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)  # where no tokens lie
    assert main(command.split()) == 0
    assert capsys.readouterr().out.rstrip() == printed
