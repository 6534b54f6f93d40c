"""Figures of benchmarks: SVG files that look the same from every run of the same figures."""

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from model_export.canvas import STYLE


def save(path: Path, draw: Callable[[Figure], None], size_inches: tuple[float, float]) -> None:
    """What `draw` draws; the name's ending says in which format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=size_inches, layout="constrained")
        draw(figure)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
