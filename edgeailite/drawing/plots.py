"""Label maps in colour, and the figures of the report and of a running training.

Figures are PNG bytes drawn with matplotlib's own objects: no display, no `pyplot`, no state that outlives a call.
"""

from __future__ import annotations

import io
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Palette = Sequence[tuple[int, int, int]]
BACKGROUND = ("background", "bg", "void", "unlabelled", "unlabeled", "ignored", "ignore")  # names of classes

DPI = 160
OVER_LINES = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}  # of a text that a line may cross
INK, FAINT, GRID = "#2b3440", "#75808c", "#e3e7eb"
LOSS, MIOU, ACCURACY = "#b4663a", "#2f6f9f", "#7fa7c4"
SEVERAL = ("#2f6f9f", "#b4663a", "#4f8a5b", "#8a5a99", "#b59a2e", "#5f6b78", "#a8475f", "#3f9aa0")  # lines of a panel
PANEL_INCHES = (4.0, 2.7)
CONFUSION_INCHES = 4.0  # least width: room for the title
LOG_ABOVE = 20  # times: a loss that falls this far is drawn on a log scale
NUMBERS_UP_TO = 24  # classes: in larger matrices the numbers could not be read


def colorize(labels: NDArray[np.integer], palette: Palette, *, ignore: int = 255) -> NDArray[np.uint8]:
    """Turn class indices (H,W) into RGB (H,W,3) uint8; `ignore` and indices without a colour are black."""
    table = np.zeros((len(palette) + 1, 3), np.uint8)
    table[:-1] = np.asarray(palette, np.uint8).reshape(-1, 3)
    known = (labels != ignore) & (labels >= 0) & (labels < len(palette))
    colors: NDArray[np.uint8] = table[np.where(known, labels, len(palette))]
    return colors


def overlay(image: NDArray[np.uint8], colors: NDArray[np.uint8], alpha: float) -> NDArray[np.uint8]:
    """Mix two (H,W,3) uint8 pictures: `alpha` of `colors` over the rest of `image`."""
    mixed = (1 - alpha) * image.astype(np.float32) + alpha * colors.astype(np.float32)
    return np.rint(mixed).astype(np.uint8)


def background(classes: Sequence[str], palette: Palette) -> frozenset[int]:
    """Return the classes that a picture is not tinted with: those with such a name, and those whose colour is black.

    >>> sorted(background(("background", "road", "sky"), ((9, 9, 9), (128, 64, 128), (0, 0, 0))))
    [0, 2]
    """
    named = {index for index, name in enumerate(classes) if name.lower() in BACKGROUND}
    return frozenset(named | {index for index, color in enumerate(palette) if not any(color)})


def untinted(labels: NDArray[np.integer], palette: Palette, plain: Collection[int]) -> NDArray[np.bool_]:
    """Return where classes (H,W) are `plain`, ignored or without a colour."""
    bare = np.ones(len(palette) + 1, bool)
    bare[[index for index in range(len(palette)) if index not in plain]] = False
    known = (labels >= 0) & (labels < len(palette))
    found: NDArray[np.bool_] = bare[np.where(known, labels, len(palette))]
    return found


def tint(
    image: NDArray[np.uint8],
    labels: NDArray[np.integer],
    palette: Palette,
    *,
    alpha: float,
    plain: Collection[int] = (),
) -> NDArray[np.uint8]:
    """Mix the colours of classes (H,W) with a picture (H,W,3) uint8, which stays as it is where they are `plain`.

    So it does where a label is ignored or has no colour.
    """
    mixed = overlay(image, colorize(labels, palette), alpha)
    bare = untinted(labels, palette, plain)
    mixed[bare] = image[bare]
    return mixed


def _figure(**settings: Any) -> Figure:
    """Make an empty figure. matplotlib is imported with the first one: colours of labels need none."""
    from matplotlib.figure import Figure

    return Figure(**settings)


@dataclass(frozen=True)
class Panel:
    """One field of `panels_figure`: lines by name, each with one value per epoch (NaN for no value)."""

    title: str
    lines: Mapping[str, Sequence[float]]
    per_cent: bool = False  # values are shares, drawn as 0 to 100
    log: bool = False  # on a log scale if the values fall far


def panels_figure(
    epochs: Sequence[int], panels: Sequence[Panel], *, title: str = "", marks: Mapping[str, float] | None = None
) -> bytes:
    """Draw small diagrams over one axis of epochs, two or three in a row; lines without a value are left out.

    `marks` are places on that axis by name: dashed lines in every diagram.
    """
    columns = 2 if len(panels) <= 4 else 3
    rows = math.ceil(len(panels) / columns)
    size = PANEL_INCHES[0] * columns, PANEL_INCHES[1] * rows + (0.3 if title else 0)
    figure = _figure(figsize=size, dpi=DPI, layout="constrained")
    if title:
        figure.suptitle(_plain(title), fontsize=11, color=INK, x=0.01, ha="left")
    fields = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, panel in zip(fields, panels, strict=False):
        _panel(axes, epochs, panel)
        _mark(axes, marks or {})
    for axes in fields[len(panels) :]:
        axes.set_visible(False)
    return _png(figure)


def class_bars(names: Sequence[str], iou: Sequence[float], palette: Palette) -> bytes:
    """Draw IoU per class in per cent, best first, in the classes' colours; absent classes (NaN) get no bar."""
    present = [index for index, value in enumerate(iou) if value == value]
    order = sorted(present, key=lambda index: -iou[index]) + [i for i in range(len(iou)) if i not in present]
    figure = _figure(figsize=(5.6, 0.8 + 0.27 * len(names)), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    for row, index in enumerate(order):
        value = 100 * iou[index]
        if index in present:
            axes.barh(row, value, height=0.68, color=_hex(palette[index]), edgecolor=INK, linewidth=0.4)
        text = f"{value:.1f}" if index in present else "absent"
        place = value + 1.2 if index in present else 1.2
        axes.text(place, row, text, va="center", fontsize=8, color=FAINT, zorder=4, bbox=OVER_LINES)
    if present:
        mean = 100 * float(np.mean([iou[index] for index in present]))
        axes.axvline(mean, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
        _title(axes, f"IoU per class, %  (dashed: mean {mean:.1f})")
    axes.set_yticks(range(len(order)), [_plain(names[index]) for index in order])
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.set_xlim(0, 110)
    axes.set_xticks(range(0, 101, 20))
    _calm(axes, grid="x")
    return _png(figure)


def confusion_figure(confusion: NDArray[np.int64], names: Sequence[str]) -> bytes:
    """Draw a matrix with rows = label, in per cent of the row; rows without labelled pixels stay blank."""
    total = confusion.sum(1, keepdims=True)
    with np.errstate(invalid="ignore"):
        share = 100 * confusion / np.where(total > 0, total, np.nan)
    count = len(names)
    side = min(2.2 + 0.36 * count, 11.0)
    figure = _figure(figsize=(max(side, CONFUSION_INCHES), side * 0.96), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    axes.imshow(np.nan_to_num(share), cmap="Blues", vmin=0, vmax=100)
    size = 8.0 if count <= NUMBERS_UP_TO else 2.5 + 130 / count
    labels = [_plain(name) for name in names]
    axes.set_xticks(range(count), labels, rotation=90)
    axes.set_yticks(range(count), labels)
    axes.set_xlabel("predicted", color=FAINT, fontsize=9)
    axes.set_ylabel("labelled", color=FAINT, fontsize=9)
    _title(axes, "Confusion, % of each labelled class")
    if count <= NUMBERS_UP_TO:
        _numbers(axes, share)
        _cells(axes, count)
    _calm(axes, grid=None, size=size)
    return _png(figure)


def _panel(axes: Axes, epochs: Sequence[int], panel: Panel) -> None:
    factor = 100 if panel.per_cent else 1
    lines = {name: [factor * v for v in values] for name, values in panel.lines.items()}
    lines = {name: values for name, values in lines.items() if any(math.isfinite(v) for v in values)}
    for index, (name, values) in enumerate(lines.items()):
        _line(axes, epochs, values, color=SEVERAL[index % len(SEVERAL)], name=_plain(name))
    finite = [v for values in lines.values() for v in values if math.isfinite(v)]
    if panel.log and finite and min(finite) > 0 and max(finite) > LOG_ABOVE * min(finite):
        _logarithmic(axes)
    elif finite:
        low, high = min(finite), max(max(finite), 1e-9)
        axes.set_ylim(min(-0.02 * high, low * 1.08), 102 if panel.per_cent and high > 60 else high * 1.08)
    else:
        axes.set_yticks([])
        axes.text(0.5, 0.5, "no values yet", transform=axes.transAxes, ha="center", color=FAINT, fontsize=9)
    if len(lines) > 1:
        axes.legend(frameon=False, fontsize=8, labelcolor=INK)
    _title(axes, _plain(panel.title))
    _over_epochs(axes, epochs)


def _mark(axes: Axes, marks: Mapping[str, float]) -> None:
    """Dashed lines with their names along them."""
    for name, place in marks.items():
        axes.axvline(place, color=FAINT, linewidth=0.8, linestyle=(0, (4, 3)))
        where = axes.get_xaxis_transform()
        how = {"textcoords": "offset points", "rotation": 90, "va": "top", "ha": "right", "fontsize": 6, "color": FAINT}
        axes.annotate(name, (place, 0.98), (-2, 0), xycoords=where, **how)  # type: ignore[arg-type]


def layer_bars(
    names: Sequence[str], values: Sequence[float], *, title: str, kinds: Sequence[str] = (), size: float = 8
) -> bytes:
    """Draw horizontal bars of layers in the order given; `kinds` says for each which of two colours it has."""
    figure = _figure(figsize=(5.6 + 0.2 * (8 - size), 0.8 + 0.27 * len(names)), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    for kind, color in zip(sorted(set(kinds)) or [""], (MIOU, LOSS), strict=False):
        rows = [row for row in range(len(names)) if not kinds or kinds[row] == kind]
        axes.barh(rows, [values[row] for row in rows], height=0.68, color=color, label=kind)
    largest = max(values, default=1.0)
    for row, value in enumerate(values):
        axes.text(max(value, 0.0) + 0.012 * largest, row, f"{value:.3g}", va="center", fontsize=8, color=FAINT)
    axes.set_yticks(range(len(names)), [_plain(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(min(0.0, *values, 0.0), 1.14 * largest)
    if kinds:
        figure.legend(frameon=False, fontsize=8, labelcolor=INK, loc="outside lower right", ncols=2)
    _title(axes, title)
    _calm(axes, grid="x", size=size)
    return _png(figure)


def memory_curve(held: Mapping[str, Sequence[int]]) -> bytes:
    """Draw activation memory in MB while each layer runs, one step curve per network over its share of layers run."""
    figure = _figure(figsize=(6.4, 3.2), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    for (name, bytes_held), color in zip(held.items(), (MIOU, LOSS), strict=False):
        megabytes = [value / 1e6 for value in bytes_held]
        progress = [100 * index / len(megabytes) for index in range(len(megabytes) + 1)]
        axes.stairs(megabytes, progress, color=color, linewidth=1.4, label=f"{name}, peak {max(megabytes):.1f} MB")
    _title(axes, "Activation memory held, MB")
    axes.set_xlabel("layers run, %", color=FAINT, fontsize=9)
    axes.set_xlim(0, 100)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8, labelcolor=INK)
    _calm(axes, grid="both")
    return _png(figure)


def intensity_scatter(groups: Mapping[str, Sequence[tuple[float, float]]]) -> bytes:
    """Draw layers as (operations per byte, MACs) dots on log scales, one colour per group of them."""
    figure = _figure(figsize=(6.4, 3.2), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    for (name, points), color in zip(groups.items(), (MIOU, LOSS, "#5b8c5a", "#8a6aa8"), strict=False):
        axes.scatter([x for x, _ in points], [y for _, y in points], s=18, color=color, alpha=0.7, lw=0, label=name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    _title(axes, "MACs of a layer against its arithmetic intensity")
    axes.set_xlabel("operations per byte moved", color=FAINT, fontsize=9)
    axes.set_ylabel("MACs", color=FAINT, fontsize=9)
    axes.legend(frameon=False, fontsize=8, labelcolor=INK, loc="best")
    _calm(axes, grid="both")
    return _png(figure)


def tradeoff(points: Sequence[tuple[str, float, float]], front: Sequence[int], *, labels: tuple[str, str]) -> bytes:
    """Draw networks as (name, cost, worth) dots, cost on a log scale; those of the `front` are named and joined."""
    from matplotlib.ticker import LogLocator, NullLocator

    figure = _figure(figsize=(8.4, 5.0), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    axes.scatter([x for _, x, _ in points], [y for _, _, y in points], s=20, color=ACCURACY, lw=0)
    best = [points[index] for index in front]
    axes.plot([x for _, x, _ in best], [y for _, _, y in best], color=MIOU, lw=1.2, marker="o", markersize=5)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda value, position: f"{value:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(x=0.06, y=0.08)
    if best:
        axes.set_xlim(right=2.2 * max(x for _, x, _ in points))  # room for the last name
        _names(axes, best)
    axes.set_xlabel(labels[0], color=FAINT, fontsize=9)
    axes.set_ylabel(labels[1], color=FAINT, fontsize=9)
    _calm(axes, grid="both")
    return _png(figure)


def growth_curve(points: Sequence[tuple[str, float | None]], *, title: str, departure: int | None = None) -> bytes:
    """Draw SQNR in dB from layer to layer as (name or "", value or None for equal); dashed where it first departs."""
    figure = _figure(figsize=(8.4, 3.6), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    known = [(index, value) for index, (_, value) in enumerate(points) if value is not None]
    axes.plot([x for x, _ in known], [y for _, y in known], color=MIOU, linewidth=1.4, marker="o", markersize=3)
    for index, (name, value) in enumerate(points):
        if name and value is not None:
            axes.plot(index, value, "o", color=LOSS, markersize=6)
            offset = (5, -10 if index % 2 else 6)
            axes.annotate(_plain(name), (index, value), offset, textcoords="offset points", fontsize=7, color=INK)
    if departure is not None:
        axes.axvline(departure, color=LOSS, linewidth=0.9, linestyle=(0, (4, 3)))
    _title(axes, _plain(title))
    axes.set_xlabel("tensors in graph order; no dot: equal; dashed: the first that departs", color=FAINT, fontsize=9)
    axes.set_xlim(-0.5, max(1, len(points)) - 0.5)
    axes.margins(y=0.12)
    _calm(axes, grid="both")
    return _png(figure)


def _names(axes: Axes, points: Sequence[tuple[str, float, float]]) -> None:
    """Names right below their points; higher where the one before would be hit."""
    free = -float("inf")
    for name, x, y in points:
        height = axes.transData.transform((x, y))[1] * 72 / DPI
        lift = max(-4.0, free - height)
        axes.annotate(_plain(name), (x, y), (7, lift), textcoords="offset points", fontsize=7, color=INK, va="top")
        free = height + lift + 9


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, fontsize=10, color=INK, loc="left")


def _over_epochs(axes: Axes, epochs: Sequence[int]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epoch", color=FAINT, fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)
    _calm(axes, grid="both")


def _logarithmic(axes: Axes) -> None:
    """Log scale with plain numbers at 1, 2 and 5."""
    from matplotlib.ticker import LogLocator, NullLocator

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(lambda value, position: f"{value:g}")
    axes.yaxis.set_minor_locator(NullLocator())


def _numbers(axes: Axes, share: NDArray[np.float64]) -> None:
    """The per cent in every cell that rounds to at least 1, white on dark."""
    for (row, column), value in np.ndenumerate(share):
        if value >= 0.5:
            color = "white" if value > 55 else INK
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=7, color=color)


def _cells(axes: Axes, count: int) -> None:
    """Thin white lines between the cells."""
    edges = np.arange(count + 1) - 0.5
    axes.set_xticks(edges, minor=True)
    axes.set_yticks(edges, minor=True)
    axes.grid(which="minor", color=GRID, linewidth=0.5)
    axes.tick_params(which="minor", length=0)


def _line(axes: Axes, x: Sequence[int], y: Sequence[float], *, color: str, name: str) -> None:
    """A curve through the values there are, with dots while they are few."""
    points = [(a, b) for a, b in zip(x, y, strict=True) if b == b]
    marker = "o" if len(points) <= 40 else None
    xs, ys = [point[0] for point in points], [point[1] for point in points]
    axes.plot(xs, ys, color=color, linewidth=1.6, marker=marker, markersize=3, label=name)


def _calm(axes: Axes, *, grid: str | None, size: float = 9) -> None:
    """Style axes plainly: no frame, a faint grid in the background, small grey ticks."""
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_axisbelow(True)
    if grid is not None:
        axes.grid(axis=grid, color=GRID, linewidth=0.8)  # type: ignore[arg-type]
    axes.tick_params(length=0, labelsize=size, labelcolor=INK)


def _hex(color: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)


def _plain(name: str) -> str:
    """A class name that matplotlib does not take for a formula."""
    return name.replace("$", r"\$")


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
