"""Small charts as inline SVG: no script, no style of their own, nothing fetched.

Colours come from the page's style sheet through classes: `dp` and `open` tell a figure with
differential privacy from one without, always together with a sign of its own (◆ filled, ○ hollow).
Where nothing is said of privacy, `c1` to `c6` tell lines apart, and `other` is beside the matter.
Elements are built as a tree, so that every text in them is escaped. Lengths are SVG user units.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, tostring

from markupsafe import Markup

WIDTH, HEIGHT = 400, 248
LEFT, RIGHT, TOP, BOTTOM = 44, 140, 10, 34
LINE_HEIGHT = 14
LABEL_CHARACTERS = 19
DASHES = ("", "7 3", "2 3", "9 3 2 3")
MARKERS_UP_TO = 24
TITLES_UP_TO = 60
LARGEST = 1e290
"""Beyond this a value is drawn at the edge: sums of larger ones need not be finite."""


@dataclass(frozen=True)
class Series:
    """A line over rounds or steps, its (x, value) points ascending; a `level` has one y everywhere.

    `tone` is `dp`, `open`, `limit`, `other` or `c1` to `c6`; `dash` tells lines of one tone apart.
    """

    label: str
    points: tuple[tuple[float, float], ...]
    tone: str
    dash: int = 0
    level: bool = False
    labelled: bool = True


@dataclass(frozen=True)
class _Frame:
    """Where a value lies on the canvas."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float

    def x(self, value: float) -> float:
        span = self.x_high - self.x_low
        share = (value - self.x_low) / span if span else 0.5
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        share = (value - self.y_low) / (self.y_high - self.y_low)
        share = min(max(share, 0.0), 1.0)
        return HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)


def lines(
    series: Sequence[Series],
    *,
    title: str,
    write: Callable[[float], str],
    tick: Callable[[float, float], str],
    from_zero: bool = False,
    over: str = "round",
    marks: Sequence[tuple[float, str]] = (),
) -> Markup:
    """Lines over the rounds (or what `over` says), each named at its end; levels cross the whole width.

    `write` words a value for the hover titles, `tick` words an axis value given the axis step. `marks`
    are events at an x, in words: upright lines.
    """
    curves = [item for item in series if not item.level]
    xs = [*(x for item in curves for x, _ in item.points), *(x for x, _ in marks)] or [0.0, 1.0]
    ys = [y for item in series for _, y in item.points]
    ticks, step = nice_ticks(min(0.0, *ys) if from_zero else min(ys), max(ys))
    frame = _Frame(min(xs), max(xs), ticks[0], ticks[-1])
    svg = _image(title, {"viewBox": f"0 0 {WIDTH} {HEIGHT}", "class": "chart"})
    _axes(svg, frame, ticks, step, tick, over)
    for x, text in marks:
        upright = {"x1": frame.x(x), "x2": frame.x(x), "y1": TOP, "y2": HEIGHT - BOTTOM}
        _hover(_add(svg, "line", upright | {"class": "event"}), text)
    for item in sorted(series, key=lambda item: not item.level):
        if item.level:
            _level(svg, frame, item, write)
        else:
            _curve(svg, frame, item, write, over)
    _end_labels(svg, frame, [item for item in series if item.labelled])
    return _markup(svg)


@dataclass(frozen=True)
class Dot:
    """A point of a scatter; `tone` is `dp` or `open`, `title` is shown where one points at it."""

    x: float
    y: float
    tone: str
    title: str


def scatter(
    dots: Sequence[Dot],
    *,
    title: str,
    along: str,
    places: Sequence[tuple[float, str]],
    top: float | None = None,
    path: Sequence[tuple[float, float]] = (),
) -> Markup:
    """Dots over `along`, of which `places` are the named values; `path` is a line through (x, y).

    What lies above `top` is drawn at the upper edge.
    """
    ys = [min(dot.y, math.inf if top is None else top) for dot in dots] or [0.0, 1.0]
    ticks, step = nice_ticks(min(ys), max(ys))
    xs = [place for place, _ in places] + [dot.x for dot in dots]
    frame = _Frame(min(xs), max(xs), ticks[0], ticks[-1])
    svg = _image(title, {"viewBox": f"0 0 {WIDTH - RIGHT + 24} {HEIGHT}", "class": "chart scatter"})
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    _grid(svg, frame, ticks, lambda value: f"{value:.{digits}f}")
    for place, name in places:
        at = {"class": "tick", "x": frame.x(place), "y": HEIGHT - BOTTOM + 17}
        _add(svg, "text", at | {"text-anchor": "middle"}, name)
    _below(svg, along)
    if path:
        line = "M" + "L".join(f"{frame.x(x):.1f} {frame.y(y):.1f}" for x, y in path)
        _add(svg, "path", {"class": "curve dp", "d": line})
    for dot in sorted(dots, key=lambda dot: dot.tone == "dp"):
        x, y = frame.x(dot.x), frame.y(dot.y)
        _mark(svg, x, y, dot.tone)
        _hover(_add(svg, "circle", {"class": "spot", "cx": x, "cy": y, "r": 7}), dot.title)
    return _markup(svg)


def nice_ticks(low: float, high: float, wanted: int = 4) -> tuple[list[float], float]:
    """Round numbers that enclose `low` and `high`, about `wanted` steps apart, and the step."""
    low, high = max(low, -LARGEST), min(high, LARGEST)
    size = max(abs(high), abs(low))
    if high - low <= size * 1e-9 or size < 1 / LARGEST:
        margin = abs(high) * 0.1 if size > 1 / LARGEST else 1.0
        low, high = low - (margin if low else 0), high + margin
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(index * step) for index in range(first, last + 1)], float(step)


def _axes(
    svg: Element,
    frame: _Frame,
    ticks: Sequence[float],
    step: float,
    tick: Callable[[float, float], str],
    over: str,
) -> None:
    _grid(svg, frame, ticks, lambda value: tick(value, step))
    for value in _round_ticks(round(frame.x_low), round(frame.x_high)):
        at = {"class": "tick", "x": frame.x(value), "y": HEIGHT - BOTTOM + 17}
        _add(svg, "text", at | {"text-anchor": "middle"}, _thousands(value))
    _below(svg, over)


def _thousands(value: int) -> str:
    return f"{value}" if value < 10_000 else f"{value / 1000:.4g}k"


def _grid(
    svg: Element, frame: _Frame, ticks: Sequence[float], word: Callable[[float], str]
) -> None:
    for value in ticks:
        y = frame.y(value)
        _add(svg, "line", {"class": "grid", "x1": LEFT, "x2": WIDTH - RIGHT, "y1": y, "y2": y})
        at = {"class": "tick", "x": LEFT - 7, "y": y + 4, "text-anchor": "end"}
        _add(svg, "text", at, word(value))


def _below(svg: Element, text: str) -> None:
    at = {"class": "tick", "x": (LEFT + WIDTH - RIGHT) / 2, "y": HEIGHT - 2}
    _add(svg, "text", at | {"text-anchor": "middle"}, text)


def _round_ticks(first: int, last: int) -> list[int]:
    """The first and last round, and round numbers between them that stand clear of both."""
    if first == last:
        return [first]
    between, step = nice_ticks(first, last)
    clear = max(step * 0.6, 1.0)
    whole = {int(v) for v in between if v.is_integer() and first + clear <= v <= last - clear}
    return sorted(whole | {first, last})


def _level(svg: Element, frame: _Frame, item: Series, write: Callable[[float], str]) -> None:
    value = item.points[0][1]
    y = frame.y(value)
    line = {"class": f"level {item.tone}", "x1": LEFT, "x2": WIDTH - RIGHT, "y1": y, "y2": y}
    _hover(_add(svg, "line", line), f"{item.label}: {write(value)}")


def _curve(
    svg: Element, frame: _Frame, item: Series, write: Callable[[float], str], over: str
) -> None:
    places = [(frame.x(x), frame.y(y)) for x, y in item.points]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    dash = DASHES[item.dash % len(DASHES)]
    _add(svg, "path", {"class": f"curve {item.tone}", "d": path, "stroke-dasharray": dash})
    few = len(places) <= MARKERS_UP_TO
    every = math.ceil(len(places) / TITLES_UP_TO)
    for index, (x, y) in enumerate(places):
        last = index == len(places) - 1
        if few or last:
            _mark(svg, x, y, item.tone)
        if index % every == 0 or last:
            number, value = item.points[index]
            spot = _add(svg, "circle", {"class": "spot", "cx": x, "cy": y, "r": 7})
            _hover(spot, f"{item.label}, {over} {number:,.10g}: {write(value)}")


def _end_labels(svg: Element, frame: _Frame, series: Sequence[Series]) -> None:
    """Each line's name to the right of its end, moved apart where they would touch."""
    wrapped = [_wrap(item.label) for item in series]
    if sum(len(lines) for lines in wrapped) * LINE_HEIGHT > HEIGHT - TOP:
        wrapped = [[_shorten(item.label)] for item in series]
    heights = [len(lines) * LINE_HEIGHT + 2 for lines in wrapped]
    ends = [frame.y(item.points[-1][1]) for item in series]
    for index, top in zip(range(len(series)), spread_out(ends, heights), strict=True):
        item, text_lines, end = series[index], wrapped[index], ends[index]
        middle = top + heights[index] / 2
        end_x = WIDTH - RIGHT if item.level else frame.x(item.points[-1][0])
        leader = {"x1": end_x + 5, "y1": end, "x2": WIDTH - RIGHT + 14, "y2": middle}
        _add(svg, "line", leader | {"class": f"leader {item.tone}"})
        for line, text in enumerate(text_lines):
            y = top + (line + 1) * LINE_HEIGHT - 3
            at = {"class": f"name {item.tone}", "x": WIDTH - RIGHT + 18, "y": y}
            _add(svg, "text", at, text)


def spread_out(
    middles: Sequence[float], heights: Sequence[float], low: float = 0.0, high: float = HEIGHT - 14
) -> list[float]:
    """The tops of labels that want to be at `middles`, moved so that none covers another."""
    tops = [middle - height / 2 for middle, height in zip(middles, heights, strict=True)]
    order = sorted(range(len(tops)), key=lambda index: middles[index])
    floor = low
    for index in order:
        tops[index] = max(tops[index], floor)
        floor = tops[index] + heights[index]
    ceiling = high
    for index in reversed(order):
        tops[index] = min(tops[index], ceiling - heights[index])
        ceiling = tops[index]
    return tops


def bar(value: float, low: float, high: float, *, tone: str, spread: float, title: str) -> Markup:
    """A bar from zero to `value` on a scale from `low` to `high`, with ± `spread` as a whisker."""
    svg = _image(title, {"class": "bar", "height": 14})
    zero, end = _share(0.0, low, high), _share(value, low, high)
    box = {"x": f"{min(zero, end):.2f}%", "width": f"{abs(end - zero):.2f}%"}
    _add(svg, "line", {"class": "track", "x1": "0", "x2": "100%", "y1": 12.5, "y2": 12.5})
    _add(svg, "rect", {"class": f"fill {tone}", "y": 3, "height": 9} | box)
    if spread > 0:
        first, last = (_share(value + sign * spread, low, high) for sign in (-1, 1))
        whisker = {"x1": f"{first:.2f}%", "x2": f"{last:.2f}%", "y1": 7, "y2": 7}
        _add(svg, "line", whisker | {"class": "whisker"})
        for end in (first, last):
            cap = {"x1": f"{end:.2f}%", "x2": f"{end:.2f}%", "y1": 0, "y2": 14}
            _add(svg, "line", cap | {"class": "whisker"})
    return _markup(svg)


def meter(spent: float, limit: float, *, title: str) -> Markup:
    """How much of `limit` is `spent`; a spent share above the limit is marked."""
    svg = _image(title, {"class": "meter", "height": 10})
    share = min(spent / limit, 1.0) if limit > 0 else 1.0
    tone = "over" if spent > limit else "dp"
    _add(svg, "rect", {"class": "trough", "x": "0", "y": 1, "width": "100%", "height": 8})
    fill = {"class": f"fill {tone}", "x": "0", "y": 1, "height": 8, "width": f"{share:.2%}"}
    _add(svg, "rect", fill)
    return _markup(svg)


def histogram(counts: Sequence[int], low: float, high: float, *, cut: float, title: str) -> Markup:
    """Counts in equal parts of the range from `low` to `high`; those of values below `cut` hollow."""
    svg = _image(title, {"viewBox": f"0 0 {WIDTH} {HEIGHT}", "class": "chart histogram"})
    right, bottom = WIDTH - LEFT, HEIGHT - BOTTOM
    width = (right - LEFT) / len(counts)
    tallest = max(*counts, 1)
    for number, count in enumerate(counts):
        start = low + (high - low) * number / len(counts)
        end = low + (high - low) * (number + 1) / len(counts)
        height = (bottom - TOP) * count / tallest
        box = {"x": LEFT + number * width + 1, "width": width - 2, "y": bottom - height}
        tone = "open" if end <= cut + 1e-9 else "dp"
        bar = _add(svg, "rect", box | {"height": height, "class": f"part {tone}"})
        _hover(bar, f"{start:.2f} to {end:.2f}: {count:,}")
    x = LEFT + (right - LEFT) * _share(cut, low, high) / 100
    _add(svg, "line", {"class": "limit", "x1": x, "x2": x, "y1": TOP, "y2": bottom})
    for value in (low, cut, high):
        x = LEFT + (right - LEFT) * _share(value, low, high) / 100
        at = {"class": "tick", "x": x, "y": bottom + 17, "text-anchor": "middle"}
        _add(svg, "text", at, f"{value:g}")
    at = {"class": "tick", "x": LEFT - 7, "y": TOP + 8, "text-anchor": "end"}
    _add(svg, "text", at, f"{tallest:,}")
    return _markup(svg)


def pair(alone: float, joint: float, low: float, high: float, *, tone: str, title: str) -> Markup:
    """Two values on one scale, joined: the hollow mark is a site alone, the filled one together."""
    svg = _image(title, {"class": "pair", "height": 14})
    first, last = (f"{4 + 0.92 * _share(value, low, high):.2f}%" for value in (alone, joint))
    _add(svg, "line", {"class": "track", "x1": "0", "x2": "100%", "y1": 7, "y2": 7})
    _add(svg, "line", {"class": f"link {tone}", "x1": first, "x2": last, "y1": 7, "y2": 7})
    _add(svg, "circle", {"class": f"hollow {tone}", "cx": first, "cy": 7, "r": 4})
    _add(svg, "circle", {"class": f"solid {tone}", "cx": last, "cy": 7, "r": 4.5})
    return _markup(svg)


def stack(parts: Sequence[tuple[str, int, str]], *, title: str) -> Markup:
    """Shares of a whole side by side: (label, count, class) in the order given."""
    svg = _image(title, {"class": "stack", "height": 14})
    total = sum(amount for _, amount, _ in parts) or 1
    start = 0.0
    for label, amount, name in parts:
        width = 100 * amount / total
        box = {"x": f"{start:.3f}%", "width": f"{width:.3f}%", "y": 1, "height": 12}
        _hover(_add(svg, "rect", box | {"class": f"part {name}"}), f"{label}: {amount:,}")
        start += width
    return _markup(svg)


def spread(
    points: Sequence[tuple[float, float, float]], low: float, high: float, *, title: str
) -> Markup:
    """Values on one scale, joined, each with its interval as a whisker: (value, begin, end)."""
    svg = _image(title, {"class": "pair", "height": 14})
    _add(svg, "line", {"class": "track", "x1": "0", "x2": "100%", "y1": 7, "y2": 7})
    places = [[f"{4 + 0.92 * _share(end, low, high):.2f}%" for end in point] for point in points]
    if places:
        ends = {"x1": places[0][0], "x2": places[-1][0], "y1": 7, "y2": 7}
        _add(svg, "line", ends | {"class": "link dp"})
    for place, begin, end in places:
        _add(svg, "line", {"class": "whisker", "x1": begin, "x2": end, "y1": 12.5, "y2": 12.5})
        _add(svg, "circle", {"class": "solid dp", "cx": place, "cy": 7, "r": 3.5})
    return _markup(svg)


def sign(tone: str) -> Markup:
    """The sign of a tone: ◆ filled for `dp`, ○ hollow for `open`; decoration beside a text."""
    svg = Element("svg", {"class": "sign", "viewBox": "0 0 12 12", "aria-hidden": "true"})
    _mark(svg, 6, 6, tone, 4.6)
    return _markup(svg)


def _mark(svg: Element, x: float, y: float, tone: str, radius: float = 3.2) -> None:
    if tone == "dp":
        corners = ((0, -radius), (radius, 0), (0, radius), (-radius, 0))
        points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)
        _add(svg, "polygon", {"class": f"solid {tone}", "points": points})
    else:
        at = {"class": f"hollow {tone}", "cx": x, "cy": y, "r": radius - 0.4}
        _add(svg, "circle", at)


def _share(value: float, low: float, high: float) -> float:
    span = high - low
    return 100 * min(max((value - low) / span, 0.0), 1.0) if 0 < span < math.inf else 0.0


def _wrap(text: str) -> list[str]:
    """At most two lines of a label, of like length where it has words to break between."""
    spaces = [index for index, letter in enumerate(text) if letter == " "]
    if len(text) <= LABEL_CHARACTERS or not spaces:
        return [_shorten(text)]
    cut = min(spaces, key=lambda index: (abs(index - len(text) / 2), index))
    return [_shorten(text[:cut]), _shorten(text[cut + 1 :])]


def _shorten(text: str) -> str:
    return text if len(text) <= LABEL_CHARACTERS else f"{text[: LABEL_CHARACTERS - 1].rstrip()}…"


def _image(title: str, attributes: dict[str, object]) -> Element:
    svg = Element("svg", {"role": "img", "aria-label": title})
    for name, value in attributes.items():
        svg.set(name, str(value))
    return svg


def _add(parent: Element, tag: str, attributes: dict[str, object], text: str = "") -> Element:
    element = SubElement(parent, tag)
    for name, value in attributes.items():
        shown = f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
        if shown:
            element.set(name, shown)
    element.text = text or None
    return element


def _hover(element: Element, text: str) -> None:
    SubElement(element, "title").text = text


def _markup(svg: Element) -> Markup:
    # ElementTree has escaped every text and attribute, so this is markup and nothing else.
    return Markup(tostring(svg, encoding="unicode"))  # noqa: S704
