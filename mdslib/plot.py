"""Figures of a day, from plain arrays: the back-test's result and the live day's report draw the same ones.

A figure stays light whatever the day held: prices are thinned to the first, lowest, highest and last of each of 1,000
stretches of time, so every extreme survives; fills are all drawn up to a bound, and above it joined, and the title says
so. Colours suit light and dark pages.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from mdslib.curve import Fills, Floats, Ints, stretches

BUCKETS = 1_000  # about the pixels of a figure's width
MOST_FILLS = 5_000
MOST_GAPS = 100
NEW_YORK = "America/New_York"

# Okabe and Ito's palette: told apart by colour-blind people, and readable on white and on black.
GREY, BLUE, GREEN, ORANGE, PURPLE, YELLOW = "#8a8f98", "#3b8fd0", "#009e73", "#d55e00", "#cc79a7", "#e0a800"
_FADED = "rgba(138,143,152,0.25)"


class Track(NamedTuple):
    """Values over time: ns UTC in order, and a number for each."""

    time: Ints
    value: Floats


class Lane(NamedTuple):
    """What is drawn of one instrument; `position` holds from its time until the next."""

    symbol: str
    price: Track
    fills: Fills
    position: Track


def thinned_rows(time: Ints, value: Floats, buckets: int = BUCKETS) -> Ints:
    """Return rows that draw the same line: the first, lowest, highest and last of each stretch of time.

    Parameters
    ----------
    time : numpy.ndarray of int64, shape (n,)
        In order.
    value : numpy.ndarray of float64, shape (n,)
        Rows with nan are left out.
    buckets : int
        Stretches of equal length; pauses of more than an hour get none. At most four rows come of each.

    Notes
    -----
    Source: U. Jugel and others, "M4: A Visualization-Oriented Time Series Data Aggregation", VLDB 7 (2014), 797-808.

    Examples
    --------
    >>> thinned_rows(np.arange(8), np.array([1.0, 9.0, 2.0, 0.0, 5.0, 5.0, 5.0, 5.0]), buckets=1).tolist()
    [0, 1, 3, 7]
    """
    known = np.flatnonzero(~np.isnan(value)) if np.isnan(value).any() else None
    if known is not None:
        return np.asarray(known[thinned_rows(time[known], value[known], buckets)])
    if len(time) <= 4 * buckets:
        return np.arange(len(time))
    bounds = np.unique(np.searchsorted(time, _edges(time, buckets)))
    bounds = np.concatenate([bounds[bounds < len(time)], [len(time)]])
    rows = np.empty((len(bounds) - 1, 4), np.int64)
    for place, (first, end) in enumerate(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)):
        part = value[first:end]
        rows[place] = first, first + part.argmin(), first + part.argmax(), end - 1
    return np.unique(rows)


def _edges(time: Ints, buckets: int) -> Ints:
    """Return where stretches begin, about `buckets` of them, over the spans between long pauses."""
    spans = stretches(time)
    length = sum(last - first for first, last in spans)
    parts = []
    for first, last in spans:
        count = max(1, int(buckets * (last - first) // max(length, 1)))
        parts.append(first + (np.arange(count) * ((last - first + 1) / count)).astype(np.int64))
    # Spans shorter than a stretch get one each; a run of very many days then keeps every so many edges.
    edges = np.concatenate(parts)
    return edges[:: 1 + len(edges) // (buckets + 1)]


def figure_day(
    times: Ints,
    prices: Floats,
    fills: Fills,
    position: Track,
    equity: Track,
    title: str = "",
    *,
    symbol: str = "",
    zone: str = NEW_YORK,
) -> go.Figure:
    """Return price with our fills, position, and equity, one above the other on one time axis.

    Parameters
    ----------
    times, prices : numpy.ndarray of int64 and float64, shape (n,)
        Public prices, ns UTC, in order; thinned to about 4,000 points.
    fills : Fills
        Ours; `instrument` is not looked at.
    position : Track
        Units, signed, after each change.
    equity : Track
        In currency.
    title : str
        Where fills had to be joined, it gets a note that says so.
    symbol : str
        For the names of the traces.
    zone : str
        Time zone of the axis.

    Returns
    -------
    plotly.graph_objects.Figure
        With traces ``price``, ``buys``, ``sells``, ``position`` and ``equity``, after the symbol where it is given.
    """
    return figure_lanes([Lane(symbol, Track(times, prices), fills, position)], equity, title, zone=zone)


def figure_lanes(lanes: Sequence[Lane], equity: Track, title: str = "", *, zone: str = NEW_YORK) -> go.Figure:
    """Return the figure of `figure_day` for several instruments: a row of prices for each, and one of all positions."""
    count = len(lanes)
    figure = make_subplots(
        rows=count + 2,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.03,
        row_heights=[0.56 / count] * count + [0.2, 0.24],
    )
    joined, marks = False, 0
    for row, lane in enumerate(lanes, 1):
        figure.add_trace(line_of(lane.price, _named(lane, "price"), GREY, zone, width=1), row, 1)
        traces, some = _fill_traces(lane, zone)
        joined |= some
        marks += sum(len(trace.x) for trace in traces)
        for trace in traces:
            figure.add_trace(trace, row, 1)
        figure.update_yaxes(title_text=_named(lane, "price"), tickformat=_PLAIN, row=row, col=1)
        colour = (BLUE, YELLOW, PURPLE, GREEN)[(row - 1) % 4]
        figure.add_trace(line_of(lane.position, _named(lane, "position"), colour, zone, steps=True), count + 1, 1)
    figure.add_trace(line_of(equity, "equity", PURPLE, zone), count + 2, 1)
    figure.update_yaxes(title_text="position", tickformat=_PLAIN, row=count + 1, col=1)
    figure.update_yaxes(title_text="equity", tickformat=_PLAIN, row=count + 2, col=1)
    note = f"{title} (fills joined in {marks:,} marks)" if joined else title
    times = max((lane.price.time for lane in lanes), key=len, default=equity.time)
    time_axes(figure, times, zone)
    return styled(figure, note, 360 + 170 * (count + 1))


def figure_decisions(
    times: Ints, prices: Floats, decisions: Mapping[str, Track], title: str = "", *, zone: str = NEW_YORK
) -> go.Figure:
    """Return the price with decisions marked on it by their fate, and below it how many there were over time.

    Parameters
    ----------
    times, prices : numpy.ndarray of int64 and float64, shape (n,)
        Public prices, ns UTC, in order.
    decisions : mapping of str to Track
        For each fate, such as ``buy sent`` or ``denied MAX_POSITION``: times and the prices to mark. Marks are thinned
        like prices; the counts below are of all.
    title : str
    zone : str
        Time zone of the axis.

    Returns
    -------
    plotly.graph_objects.Figure
        With a trace ``price``, and for each fate a trace of that name and one that ends in `` a bar``.
    """
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.04, row_heights=[0.68, 0.32])
    figure.add_trace(line_of(Track(times, prices), "price", GREY, zone, width=1), 1, 1)
    spans = stretches(times)
    edges = _edges(times, 80) if len(times) else np.zeros(0, np.int64)
    for place, (fate, track) in enumerate(decisions.items()):
        colour = _fate_colour(fate, place)
        shown = thinned_rows(track.time, track.value)
        marks = dict(color=colour, size=6, symbol=_fate_symbol(fate), opacity=0.75)
        figure.add_trace(_marks(Track(track.time[shown], track.value[shown]), fate, marks, zone), 1, 1)
        if spans:
            counts = np.diff(np.searchsorted(track.time, np.append(edges, spans[-1][1] + 1)))
            bar = go.Bar(x=axis_of(edges, zone), y=counts, name=f"{fate}, a bar", marker_color=colour, showlegend=False)
            figure.add_trace(bar, 2, 1)
    figure.update_layout(barmode="stack", bargap=0.1)
    figure.update_yaxes(title_text="price", row=1, col=1)
    figure.update_yaxes(title_text="decisions", row=2, col=1)
    time_axes(figure, times, zone)
    return styled(figure, title, 520)


def figure_latency(ns: Ints, title: str = "Decision latency") -> go.Figure:
    """Return a histogram of latencies in microseconds, on a logarithmic axis, with lines at the median and p99.

    Parameters
    ----------
    ns : numpy.ndarray of int64, shape (n,)
        Nanoseconds; those below 1 count as 1. Without any, the figure says so.

    Returns
    -------
    plotly.graph_objects.Figure
        With traces ``latency``, ``p50 ... µs`` and ``p99 ... µs``.
    """
    figure = go.Figure()
    if not len(ns):
        figure.add_annotation(
            text="no latencies were measured", showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper"
        )
        return styled(figure, title, 320)
    us = np.maximum(np.asarray(ns, np.float64), 1.0) / 1_000.0
    low, high = float(us.min()), float(us.max())
    edges = np.geomspace(low * 0.98, high * 1.02, 81)
    counts, _ = np.histogram(us, edges)
    figure.add_trace(
        go.Scatter(
            x=edges, y=np.append(counts, 0), name="latency", line=dict(shape="hv", color=BLUE, width=1), fill="tozeroy"
        )
    )
    for share, colour in ((50, GREEN), (99, ORANGE)):
        at = float(np.percentile(us, share))
        figure.add_trace(
            go.Scatter(
                x=[at, at],
                y=[0, int(counts.max())],
                mode="lines",
                name=f"p{share} {at:,.1f} µs",
                line=dict(color=colour, width=2, dash="dash"),
            )
        )
    figure.update_xaxes(type="log", title_text="µs", dtick="D1" if high < 100 * low else None, **GRID)
    figure.update_yaxes(title_text="decisions", rangemode="tozero", **GRID)
    return styled(figure, f"{title} ({len(ns):,})", 340)


def figure_counts(counts: Mapping[str, int], title: str = "Counts") -> go.Figure:
    """Return the counts as labelled bars, in the order given; those that are 0 stay in sight.

    Parameters
    ----------
    counts : mapping of str to int
        Such as denied, rejected, dropped and late.

    Returns
    -------
    plotly.graph_objects.Figure
        With one trace, ``counts``.
    """
    names, values = list(counts), [int(value) for value in counts.values()]
    bars = go.Bar(
        x=values,
        y=names,
        name="counts",
        orientation="h",
        text=[f"{value:,}" for value in values],
        textposition="outside",
        cliponaxis=False,
        marker_color=BLUE,
    )
    figure = go.Figure(bars)
    figure.update_yaxes(autorange="reversed", ticksuffix="  ")
    figure.update_xaxes(rangemode="tozero", tickformat=_PLAIN, range=[0, 1.12 * max([*values, 1])], **GRID)
    return styled(figure, title, 110 + 26 * max(len(names), 1), legend=False)


# ---------------------------------------------------------------- traces
def _named(lane: Lane, what: str) -> str:
    return f"{lane.symbol} {what}".strip()


def line_of(track: Track, name: str, colour: str, zone: str, *, width: float = 1.5, steps: bool = False) -> go.Scatter:
    """Return values over time as a thinned line; with `steps`, each holds until the next."""
    rows = thinned_rows(*track)
    return go.Scatter(
        x=axis_of(track.time[rows], zone),
        y=np.asarray(track.value)[rows],
        name=name,
        mode="lines",
        line=dict(color=colour, width=width, shape="hv" if steps else "linear"),
    )


def _marks(track: Track, name: str, marker: dict[str, Any], zone: str, **more: Any) -> go.Scatter:
    return go.Scatter(x=axis_of(track.time, zone), y=track.value, name=name, mode="markers", marker=marker, **more)


def _fill_traces(lane: Lane, zone: str) -> tuple[list[go.Scatter], bool]:
    """Return the marks of buys and of sells, and whether several fills had to be joined in one."""
    joined = len(lane.fills.time) > MOST_FILLS
    traces = []
    for name, sign, symbol, colour in (("buys", 1, "triangle-up", GREEN), ("sells", -1, "triangle-down", ORANGE)):
        chosen = lane.fills.qty * sign > 0.0
        time, qty, px = lane.fills.time[chosen], lane.fills.qty[chosen], lane.fills.px[chosen]
        count = np.ones(len(time), np.int64)
        if joined and len(time):
            time, qty, px, count = _joined(time, qty, px)
        # Many marks are drawn small, or they would hide the price.
        size: Any = np.clip(3.0 + np.log2(count), 3.0, 8.0) if joined else 7 if len(lane.fills.time) < 1_000 else 4
        traces.append(
            _marks(
                Track(time, px),
                _named(lane, name),
                dict(color=colour, symbol=symbol, size=size, opacity=0.7, line=dict(width=0)),
                zone,
                customdata=np.column_stack([qty, count]),
                hovertemplate="%{x}<br>%{customdata[0]:+,} at %{y:,.4f}<br>fills: %{customdata[1]}",
            )
        )
    return traces, joined


def _joined(time: Ints, qty: Floats, px: Floats) -> tuple[Ints, Floats, Floats, Ints]:
    """Join fills of one side by stretches of time: last time, whole quantity, mean price by quantity, count."""
    first = np.unique(np.searchsorted(time, _edges(time, BUCKETS)))
    first = first[first < len(time)]
    quantity = np.add.reduceat(qty, first)
    count = np.diff(np.append(first, len(time)))
    return time[first + count - 1], quantity, np.add.reduceat(qty * px, first) / quantity, count


def _fate_colour(fate: str, place: int) -> str:
    known = {"buy": GREEN, "sell": ORANGE, "denied": YELLOW, "rejected": PURPLE}
    return next((colour for word, colour in known.items() if word in fate), (BLUE, GREY)[place % 2])


def _fate_symbol(fate: str) -> str:
    known = {"denied": "x-thin-open", "rejected": "circle-open", "buy": "triangle-up", "sell": "triangle-down"}
    return next((symbol for word, symbol in known.items() if word in fate), "circle")


# ---------------------------------------------------------------- axes
GRID: dict[str, Any] = dict(gridcolor=_FADED, zerolinecolor=_FADED, linecolor=_FADED)
_PLAIN = ",.12~g"  # 100,005 and not 100.005k


def axis_of(ns: Ints, zone: str) -> Floats:
    """Return times as milliseconds of local time since 1970: plotly knows no zones, and numbers are light."""
    import pandas as pd

    local = pd.DatetimeIndex(np.ascontiguousarray(ns, np.int64).view("M8[ns]")).tz_localize("UTC").tz_convert(zone)
    return np.asarray(local.tz_localize(None).to_numpy("M8[ns]").astype(np.int64) / 1e6)


def time_axes(figure: go.Figure, times: Ints, zone: str) -> None:
    """Make all x axes show local time, without the nights between sessions."""
    spans = stretches(times)
    breaks = [dict(bounds=axis_of(np.array([a[1], b[0]]), zone).tolist()) for a, b in itertools.pairwise(spans)]
    figure.update_xaxes(type="date", rangebreaks=breaks if len(breaks) <= MOST_GAPS else [], **GRID)
    figure.update_yaxes(**GRID)
    rows = len([key for key in figure.layout if str(key).startswith("xaxis")])
    figure.update_xaxes(title_text=zone.split("/")[-1].replace("_", " ") + " time", row=rows, col=1)


def styled(figure: go.Figure, title: str, height: int, *, legend: bool = True) -> go.Figure:
    """Give a figure the look that all of ours have, and return it."""
    figure.update_layout(
        title=dict(text=title, font=dict(size=15), x=0.01, xanchor="left"),
        height=height,
        margin=dict(l=70, r=20, t=70 if title else 40, b=45),
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font=dict(color=GREY, size=12),
        showlegend=legend,
        legend=dict(
            orientation="h", x=1.0, xanchor="right", y=1.0, yanchor="bottom", itemsizing="constant", traceorder="normal"
        ),
        hovermode="closest",
    )
    return figure


__all__ = [
    "Lane",
    "Track",
    "figure_counts",
    "figure_day",
    "figure_decisions",
    "figure_lanes",
    "figure_latency",
    "thinned_rows",
]
