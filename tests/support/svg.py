"""Just enough SVG for the pictures of the documentation: shapes with classes, colours for light and dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

LIGHT = {
    "ink": "#1f2328", "faint": "#818b98", "grid": "#d1d9e0", "blue": "#0969da", "red": "#d1242f", "green": "#1a7f37",
    "violet": "#8250df", "pane": "#54aeff",
}  # fmt: skip
DARK = {
    "ink": "#f0f6fc", "faint": "#9198a1", "grid": "#3d444d", "blue": "#4493f8", "red": "#f85149", "green": "#3fb950",
    "violet": "#ab7df8", "pane": "#1f6feb",
}  # fmt: skip


def style(colours: dict[str, str]) -> str:
    """The classes: a colour and how it is used (``fill``, ``line``, ``medium``, ``thick``, ``hollow``, ``shade``, ``dash``)."""
    rules = []
    for name, colour in colours.items():
        rules += [
            f".{name}.fill{{fill:{colour}}}",
            f".{name}.line{{stroke:{colour}}}",
            f".{name}.hollow{{stroke:{colour}}}",
            f".{name}.shade{{fill:{colour};fill-opacity:.16}}",
            f"text.{name}{{fill:{colour}}}",
        ]
    return "".join(rules)


SHAPES = (
    "text{font:13px system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif}"
    ".small{font-size:11.5px}.bold{font-weight:600}"
    ".line{fill:none;stroke-width:1}.medium{stroke-width:1.75}.thick{stroke-width:2.5}.dash{stroke-dasharray:4 3}"
    ".hollow{fill:none;stroke-width:2}"
)


class Picture:
    """Collects shapes; `text` gives the file. Coordinates are pixels from the upper left."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self.width, self.height, self.title = width, height, title
        self._shapes: list[str] = []

    def rect(self, x: float, y: float, width: float, height: float, kind: str, *, round_: float = 0) -> None:
        corner = f' rx="{_n(round_)}"' if round_ else ""
        self._shapes.append(f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}"{corner} class="{kind}"/>')

    def line(self, points: Sequence[tuple[float, float]], kind: str) -> None:
        path = " ".join(f"{_n(x)},{_n(y)}" for x, y in points)
        self._shapes.append(f'<polyline points="{path}" class="line {kind}"/>')

    def dot(self, x: float, y: float, kind: str, radius: float = 6) -> None:
        self._shapes.append(f'<circle cx="{_n(x)}" cy="{_n(y)}" r="{_n(radius)}" class="{kind}"/>')

    def write(self, x: float, y: float, text: str, kind: str = "ink", anchor: str = "start") -> None:
        where = "" if anchor == "start" else f' text-anchor="{anchor}"'
        self._shapes.append(f'<text x="{_n(x)}" y="{_n(y)}"{where} class="{kind}">{escape(text)}</text>')

    def text(self) -> str:
        """The file: readable on light and on dark pages."""
        css = f"{SHAPES}{style(LIGHT)}@media (prefers-color-scheme:dark){{{style(DARK)}}}"
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" width="{self.width}" '
            f'height="{self.height}" role="img" aria-label={quoteattr(self.title)}>'
        )
        return "\n".join([head, f"<title>{escape(self.title)}</title>", f"<style>{css}</style>", *self._shapes, "</svg>", ""])


def _n(value: float) -> str:
    """At most a tenth of a pixel, and no more digits than it takes."""
    return f"{round(value, 1):g}"
