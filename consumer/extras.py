"""The optional parts of the package."""

import sys


def how_to_install(extra: str) -> str:
    """A command for the Python that this runs in; it works in the checkout."""
    return f"{sys.executable} -m pip install -e '.[{extra}]'"
