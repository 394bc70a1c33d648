"""Draws what a new key takes beside how many keys there are, as an image (SVG) for light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_WIDTH, _HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 616, 24, 252
_STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_LINES = 6
_STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #57606a }
  path { fill: none; stroke-width: 2.5 }
  .grid { stroke: #d0d7de; stroke-width: 1 }
  .ours { stroke: #0969da }
  .floor { stroke: #8c959f; stroke-dasharray: 5 4 }
  @media (prefers-color-scheme: dark) {
    text { fill: #9198a1 }
    .grid { stroke: #3d444d }
    .ours { stroke: #4493f8 }
  }
"""


class Point(NamedTuple):
    """What a creation takes with so many keys there, and the least that it could; in milliseconds."""

    keys: int
    ours: float
    floor: float


def drawn(points: Sequence[Point]) -> str:
    """Return the image: the number of keys on a logarithmic axis, one line for ours and one for the floor."""
    most = max(max(point.ours, point.floor) for point in points)
    step = next(step for step in _STEPS if most <= step * _LINES)
    top = math.ceil(most / step) * step
    low, high = (math.log10(point.keys) for point in (points[0], points[-1]))
    xs = [_LEFT + (math.log10(point.keys) - low) / (high - low) * (_RIGHT - _LEFT) for point in points]

    def y(value: float) -> float:
        return _BOTTOM - value / top * (_BOTTOM - _TOP)

    ours, floors = ([y(point[at]) for point in points] for at in (1, 2))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
        "<title>Milliseconds that a new key takes, beside the number of keys that are there</title>",
        f"<style>{_STYLE}</style>",
        *(_grid(y(at), f"{at} ms" if at == top else str(at)) for at in range(0, top + 1, step)),
        *(_text(x, _BOTTOM + 20, f"{point.keys:,}", "middle") for x, point in zip(xs, points, strict=True)),
        _text((_LEFT + _RIGHT) / 2, _HEIGHT - 8, "keys that are there", "middle"),
        _line("floor", xs, floors),
        _line("ours", xs, ours),
        _text(_LEFT + 8, ours[0] - 12, "POST /api/keys, p50", "start"),
        _text(_LEFT + 8, floors[0] + 20, "Xray's part and two durable writes", "start"),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _grid(y: float, words: str) -> str:
    return f'<path class="grid" d="M{_LEFT} {y:.1f}H{_RIGHT}"/>{_text(_LEFT - 8, y + 4, words, "end")}'


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{words}</text>'


def _line(kind: str, xs: Sequence[float], ys: Sequence[float]) -> str:
    places: Iterator[str] = (f"{x:.1f} {y:.1f}" for x, y in zip(xs, ys, strict=True))
    return f'<path class="{kind}" d="M{"L".join(places)}"/>'
