"""All that a study has measured so far, from its folder or from its results.json."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError

from parvideo.files import read_json
from tools.order_study.config import Measured, StudyConfig, Timed, parse_study
from tools.order_study.job import result_path, times_stage


@dataclass(frozen=True)
class Results:
    """What a study has measured so far.

    Attributes:
        study: its settings.
        references: the real clips and the tokenizer's reconstructions.
        measured: every row of the jobs that are done.
        times: by row, once they have been taken.
        minutes: that it took so far; None where that was not noted.
    """

    study: StudyConfig
    references: list[Measured]
    measured: list[Measured]
    times: dict[str, Timed]
    minutes: float | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data; `read_results` is its inverse."""
        settings = {"tokenizer": str(self.study.tokenizer), "generator": str(self.study.generator)}
        return {
            "study": asdict(self.study) | settings,
            "references": [asdict(row) for row in self.references],
            "measured": [asdict(row) for row in self.measured],
            "times": [asdict(row) for row in self.times.values()],
            "minutes": self.minutes,
        }


def gather(out: Path, study: StudyConfig) -> Results:
    """The results of the jobs that are done in a study's folder.

    Raises:
        FileNotFoundError: if none is.
    """
    done = [job for job in study.jobs if result_path(out, job).exists()]
    if not done:
        raise FileNotFoundError(f"{out}/results has no result of this study yet; none of its jobs is done")
    state = read_json(out / "state.json")
    timed = state.get(times_stage(study), {}).get("result") or []
    return Results(
        study,
        [Measured(**row) for row in read_json(out / "references.json")],
        [Measured(**row) for job in done for row in read_json(result_path(out, job))],
        {row["row"]: Timed(**row) for row in timed},
        sum(stage["seconds"] for stage in state.values()) / 60,
    )


def read_results(path: Path) -> Results:
    """The results in a results.json, such as docs/study.json.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is of another version of this tool.
    """
    found = read_json(path)
    try:
        return Results(
            parse_study(found["study"]),
            [Measured(**row) for row in found["references"]],
            [Measured(**row) for row in found["measured"]],
            {row["row"]: Timed(**row) for row in found["times"]},
            found.get("minutes"),
        )
    except (ArgumentError, KeyError, TypeError) as error:
        raise ValueError(f"{path} holds no results that this version can read ({error})") from error
