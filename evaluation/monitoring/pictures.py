"""Drift over nights as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluation.figures.pictures import COLOURS, as_png
from evaluation.monitoring.accuracy import ACCURACY, MEAN
from evaluation.monitoring.drift import FAMILIES, farthest, name_quantity
from evaluation.monitoring.nights import Night
from evaluation.monitoring.quantities import INPUTS, SCORES

ACROSS = 3  # panels in a row
WARNING = "#c1272d"
MOST_TICKS = 14  # nights that are named below an axis
Rows = Sequence[Mapping[str, Any]]


def draw_overview(nights: Sequence[Night], rows: Rows) -> bytes:
    """The largest distance of each night, and of the last ones together, as a multiple of what is warned of."""
    figure = Figure(figsize=(8.2, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.axhspan(0, 1, color="0.93", zorder=0)
    axes.axhline(1, color=WARNING, linewidth=0.9, linestyle="--", label="warned of from here")
    for family, colour, marker in ((INPUTS, COLOURS[0], "o"), (SCORES, COLOURS[4], "s")):
        for several in (False, True):
            own = [_rows_of(rows, night, family, several) for night in nights]
            heights = [farthest(found) if found else np.nan for found in own]
            if several and np.isnan(heights).all():
                continue
            axes.plot(
                range(len(nights)), heights, color=colour, marker=marker, markersize=3 if several else 5,
                linewidth=1.3, linestyle=":" if several else "-", label=f"{family}, last nights" if several else family,
            )  # fmt: skip
            for place, (height, found) in enumerate(zip(heights, own, strict=True)):
                if any(row["warned"] for row in found):
                    _ring(axes, place, height)
    top = axes.get_ylim()[1]
    axes.set(ylim=(0, top), ylabel="largest distance / limit")
    for place, night in enumerate(nights):
        names = [name_quantity(row) for row in rows if row["night"] == night.name and row["warned"]]
        if names:
            text = names[0] if len(names) == 1 else f"{names[0]}\nand {len(names) - 1} more"
            axes.annotate(
                text, (place, top), xytext=(0, 4), textcoords="offset points", ha="center", va="bottom", fontsize=8,
                color=WARNING, parse_math=False, annotation_clip=False,
            )  # fmt: skip
    _name_nights(axes, nights)
    axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return as_png(figure)


def _rows_of(rows: Rows, night: Night, family: str, several: bool) -> Rows:
    return [
        row for row in rows if (row["night"], row["family"]) == (night.name, family) and (row["nights"] > 1) == several
    ]


def draw_quantities(nights: Sequence[Night], rows: Rows) -> bytes:
    """A panel for each quantity: its value by night with the range of nights without drift, or its distance."""
    shown = [row for row in rows if row["quantity"] == MEAN or (row["family"] != ACCURACY and row["nights"] == 1)]
    keys = list(dict.fromkeys((row["family"], row["quantity"]) for row in shown))
    keys.sort(key=lambda key: FAMILIES.index(key[0]))
    down = max(1, -(-len(keys) // ACROSS))
    figure = Figure(figsize=(ACROSS * 3.7, down * 2.3 + 0.3), layout="constrained")
    panels: list[Axes] = figure.subplots(down, ACROSS, squeeze=False).ravel().tolist()
    for axes in panels[len(keys) :]:
        axes.set_axis_off()
    for axes, (family, quantity) in zip(panels, keys, strict=False):
        own = {row["night"]: row for row in shown if (row["family"], row["quantity"]) == (family, quantity)}
        _draw_quantity(axes, nights, quantity, own)
    return as_png(figure)


def _draw_quantity(axes: Axes, nights: Sequence[Night], title: str, rows: Mapping[str, Mapping[str, Any]]) -> None:
    places = np.arange(len(nights))
    valued = any(row["value"] is not None for row in rows.values())

    def column(name: str) -> np.ndarray:
        found = [rows.get(night.name, {}).get(name) for night in nights]
        return np.array([np.nan if value is None else value for value in found], float)

    values = column("value" if valued else "distance")
    if valued:
        low, high = column("low"), column("high")
        axes.plot(places, column("reference"), color="0.45", linewidth=0.9, linestyle="--")
    else:
        low, high = np.zeros(len(nights)), column("limit")
    edges = (places[:, None] + [-0.5, 0.5]).ravel()
    axes.fill_between(edges, np.repeat(low, 2), np.repeat(high, 2), color="0.88", linewidth=0)
    axes.plot(places, values, color=COLOURS[0], marker="o", markersize=4, linewidth=1.2)
    for place, (night, value) in enumerate(zip(nights, values.tolist(), strict=True)):
        if rows.get(night.name, {}).get("warned"):
            _ring(axes, place, value)
    axes.set_title(title if valued else f"{title}: distance", fontsize=9, parse_math=False)
    axes.tick_params(labelsize=7)
    axes.margins(y=0.15)  # room for rings
    axes.set_ylabel(_unit(title) if valued else "distance", fontsize=7)
    _name_nights(axes, nights)


def _unit(quantity: str) -> str:
    """What the value of a quantity is."""
    units = {"finding": "share of images", "score": "mean score", "age": "mean age, years", MEAN: "AUROC"}
    return units.get(quantity.partition(":")[0], "mean")


def _ring(axes: Axes, place: float, height: float) -> None:
    """Mark a night that is warned of."""
    axes.plot(
        [place], [height], "o", markersize=12, markerfacecolor="none", markeredgecolor=WARNING, markeredgewidth=1.8
    )


def _name_nights(axes: Axes, nights: Sequence[Night]) -> None:
    step = max(1, -(-len(nights) // MOST_TICKS))
    places = list(range(0, len(nights), step))
    names = [f"{int(nights[place].name.rpartition('-')[2])}\n{nights[place].date[5:]}" for place in places]
    axes.set_xticks(places, names, fontsize=7)
    axes.set_xlim(-0.6, max(len(nights) - 0.4, 0.6))
    axes.set_xlabel("night", fontsize=8)
