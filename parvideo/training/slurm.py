"""SLURM: putting a job back into the queue, to go on later from its checkpoint."""

import subprocess
from collections.abc import Mapping


def requeue_job(environment: Mapping[str, str]) -> str:
    """Ask SLURM to requeue the job that this process runs in.

    Args:
        environment: the process's, in which SLURM states the job.

    Returns:
        The job's number, with its task's in an array.

    Raises:
        ValueError: if ``scontrol`` is not there or refuses.
    """
    job = environment["SLURM_JOB_ID"]
    if "SLURM_ARRAY_JOB_ID" in environment:
        job = f"{environment['SLURM_ARRAY_JOB_ID']}_{environment['SLURM_ARRAY_TASK_ID']}"
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        raise ValueError(
            f"`scontrol requeue {job}` failed ({said.strip()}); the step is saved: submit the job again"
        ) from error
    return job
