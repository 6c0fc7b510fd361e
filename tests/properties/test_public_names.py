"""The package's own door: what `import parvideo` offers."""

import subprocess
import sys

import parvideo


def test_every_public_name_is_listed_and_there() -> None:
    assert dir(parvideo) == sorted(parvideo.__all__)
    for name in parvideo.__all__:
        assert getattr(parvideo, name).__class__ is not type(parvideo), f"{name} is a module"
    assert set(parvideo._HOMES) == set(parvideo.__all__) - {"__version__"}


def test_the_docstring_names_what_there_is() -> None:
    text = parvideo.__doc__ or ""
    assert len(text.strip().splitlines()) <= 12
    unnamed = {name for name in parvideo.__all__ if name not in text}
    assert unnamed <= {"VideoTokenizer", "__version__"}


def test_importing_the_package_imports_none_of_its_libraries() -> None:
    program = "import sys, parvideo; print([m for m in ('torch', 'numpy', 'lightning') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
