"""`parvideo fit`: train a tokenizer or a generator from YAML configs; resumes by itself."""


def fit(arguments: list[str]) -> None:
    """Train what the configs describe, in the run folder ``--out``.

    Args:
        arguments: LightningCLI's command line, such as ``--config a.yaml --config b.yaml --data.root X``;
            see ``parvideo fit --help``.

    Raises:
        ValueError: on a setting that is out of range, or a checkpoint that the run cannot go on from.
        KeyboardInterrupt: when interrupted; the same command goes on where the run was.
    """
    from parvideo.training.fit_options import help_text

    if not {"-h", "--help"}.isdisjoint(arguments):  # at once: Lightning takes seconds
        print(help_text())
        raise SystemExit(0)
    from parvideo.training.cli import fit as train

    train(["--help" if word in ("--help_all", "--help-all") else word for word in arguments])
