"""Plots as SVG that stands alone in a page, all in one style."""

import io
import re
from collections.abc import Callable
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

_METADATA: Final = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
STYLE: Final[Any] = {
    "svg.hashsalt": "ebbtide", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10,
    "font.sans-serif": ["system-ui", "Segoe UI", "Helvetica", "Arial", "DejaVu Sans"],
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#94a3b8", "axes.labelcolor": "#334155",
    "axes.titlesize": 11, "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.titlecolor": "#0f172a",
    "xtick.color": "#475569", "ytick.color": "#475569", "axes.grid": True, "grid.color": "#e2e8f0",
    "axes.axisbelow": True, "legend.frameon": False, "legend.fontsize": 8.5,
}  # fmt: skip


def svg(draw: Callable[[Axes], None], size_inches: tuple[float, float] = (5.2, 3.7)) -> str:
    """What `draw` draws, as an <svg> element."""
    text = image(draw, size_inches, "svg", metadata={"Date": None, "Creator": None}).decode()
    return _METADATA.sub("", text[text.index("<svg") :])


def image(draw: Callable[[Axes], None], size_inches: tuple[float, float], kind: str, **options: Any) -> bytes:
    """The same in any format that matplotlib writes."""
    content = io.BytesIO()
    with mpl.rc_context(STYLE):
        canvas = Canvas(figsize=size_inches, layout="constrained")
        draw(canvas.subplots())
        canvas.savefig(content, format=kind, transparent=kind == "svg", **options)
    return content.getvalue()
