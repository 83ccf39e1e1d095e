"""Figures of order books: depth at a moment, the book over time, order flow, and what it says of the price."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from mdslib.book import OrderBook, Tops
from mdslib.plot import BLUE, GREEN, GREY, GRID, ORANGE, PURPLE, YELLOW, Track, axis_of, line_of, styled, time_axes

if TYPE_CHECKING:
    import pandas as pd

UTC = "UTC"
COLUMNS, ROWS = 400, 160  # cells of the book's image: about two pixels each
_COLOURS = {"limit": GREEN, "market": ORANGE, "cancel": GREY}


def figure_depth(book: OrderBook, levels: int = 20, lot: float = 1.0, title: str = "") -> go.Figure:
    """Return how much could be bought and sold down to each price.

    Parameters
    ----------
    book : OrderBook
        As it was at a moment; see `mdslib.book.book_at`.
    levels : int
        How many of each side.
    lot : float
        Units in a lot: ``instrument.lot``.
    title : str
        Above the figure.

    Returns
    -------
    plotly.graph_objects.Figure
        With traces ``bids`` and ``asks``: sizes summed up from the best price, in units.
    """
    top = book.top(levels)
    figure = go.Figure()
    sides = (("bids", top.bid, top.bid_size, BLUE), ("asks", top.ask, top.ask_size, ORANGE))
    for name, price, size, colour in sides:
        figure.add_trace(
            go.Scatter(
                x=np.repeat(price, 2),
                y=np.append(0.0, np.repeat(np.cumsum(size) * lot, 2)[:-1]) if len(size) else [],
                customdata=np.repeat(size * lot, 2),
                name=name,
                mode="lines",
                fill="tozeroy",
                line=dict(color=colour, width=1.5),
                hovertemplate="%{x}: %{customdata:,.6~g} here, %{y:,.6~g} down to here",
            )
        )
    figure.update_xaxes(title_text="price", tickformat=",.12~g", **GRID)
    figure.update_yaxes(title_text="units, summed from the best price", rangemode="tozero", **GRID)
    return styled(figure, title, 380)


def figure_book(best: Tops, lot: float = 1.0, title: str = "", *, zone: str = UTC) -> go.Figure:
    """Return the book over time: sizes by price as shades, best prices as lines; below them spread and imbalance.

    Parameters
    ----------
    best : Tops
        The best levels after each message; see `mdslib.book.best`.
    lot : float
        Units in a lot: ``instrument.lot``.
    title : str
        Above the figure.
    zone : str
        Time zone of the axis.

    Returns
    -------
    plotly.graph_objects.Figure
        With traces ``size``, ``best bid``, ``best ask``, ``spread`` and ``imbalance`` (of all levels in `best`).
    """
    figure = make_subplots(rows=3, cols=1, shared_xaxes=True, vertical_spacing=0.03, row_heights=[0.64, 0.16, 0.2])
    figure.add_trace(_shades(best, lot, zone), 1, 1)
    for name, price, colour in (("best bid", best.bid[:, 0], BLUE), ("best ask", best.ask[:, 0], ORANGE)):
        figure.add_trace(line_of(Track(best.ts_event, price), name, colour, zone, width=1.2, steps=True), 1, 1)
    figure.add_trace(line_of(Track(best.ts_event, best.spread), "spread", PURPLE, zone, width=1, steps=True), 2, 1)
    imbalance = best.depth_imbalance(best.bid.shape[1])
    figure.add_trace(line_of(Track(best.ts_event, imbalance), "imbalance", GREEN, zone, width=1, steps=True), 3, 1)
    figure.update_yaxes(title_text="price", tickformat=",.12~g", row=1, col=1)
    figure.update_yaxes(title_text="spread", rangemode="tozero", row=2, col=1)
    figure.update_yaxes(title_text="imbalance", range=[-1.05, 1.05], row=3, col=1)
    time_axes(figure, best.ts_event, zone)
    return styled(figure, title, 640)


def figure_flow(flow: pd.DataFrame, title: str = "", *, zone: str = UTC) -> go.Figure:
    """Return order flow over time: what came above the line, what went below it, bids above asks.

    Parameters
    ----------
    flow : DataFrame
        Of `mdslib.book.order_flow`; all its levels are summed.
    title : str
        Above the figure.
    zone : str
        Time zone of the axis.

    Returns
    -------
    plotly.graph_objects.Figure
        With traces ``limit``, ``market`` and ``cancel`` for either side.
    """
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.06)
    ends = flow.index.as_unit("ns").asi8  # type: ignore[attr-defined]
    for row, side in enumerate(("bid", "ask"), 1):
        for name, colour in _COLOURS.items():
            notional = flow[side][name].sum(axis=1).to_numpy()
            figure.add_trace(
                go.Bar(
                    x=axis_of(ends, zone),
                    y=notional if name == "limit" else -notional,
                    name=name,
                    marker=dict(color=colour, line=dict(width=0)),
                    showlegend=row == 1,
                    legendgroup=name,
                ),
                row,
                1,
            )
        figure.update_yaxes(title_text=f"{side}s, notional", tickformat="~s", row=row, col=1)
    time_axes(figure, ends, zone)
    figure.update_layout(barmode="relative", bargap=0.0)
    return styled(figure, title, 480)


def figure_impact(imbalance: Any, change: Any, title: str = "") -> go.Figure:
    """Return changes of the price against order-flow imbalance, an interval a point, and the least-squares line.

    Parameters
    ----------
    imbalance : array_like of float, shape (n,)
        Order-flow imbalance of each interval, in units.
    change : array_like of float, shape (n,)
        Change of the mid price in the same interval, in currency.
    title : str
        Above the figure.

    Returns
    -------
    plotly.graph_objects.Figure
        With traces ``intervals`` and ``fit``, whose name tells slope and R squared.
    """
    x, y = np.asarray(imbalance, float), np.asarray(change, float)
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    marker = dict(color=BLUE, size=4, opacity=0.4)
    figure = go.Figure(go.Scatter(x=x, y=y, name="intervals", mode="markers", marker=marker))
    if len(x) > 1 and np.ptp(x) > 0 and np.ptp(y) > 0:
        slope, level = np.polyfit(x, y, 1)
        ends = np.array([x.min(), x.max()])
        name = f"fit: slope {slope:.4g}, R² {np.corrcoef(x, y)[0, 1] ** 2:.2f}"
        figure.add_trace(go.Scatter(x=ends, y=level + slope * ends, name=name, mode="lines", line=dict(color=YELLOW)))
    figure.update_xaxes(title_text="order-flow imbalance, units", **GRID)
    figure.update_yaxes(title_text="change of the mid price", **GRID)
    return styled(figure, title, 380)


def _shades(best: Tops, lot: float, zone: str) -> go.Heatmap:
    """Return sizes as an image: bids above 0, asks below; a column is the book at its time, a row a band of prices."""
    rows = np.unique(np.linspace(0, len(best) - 1, min(COLUMNS, len(best))).astype(np.int64))
    prices = np.concatenate([best.bid[rows], best.ask[rows]], axis=1)
    sizes = np.concatenate([best.bid_size[rows], -best.ask_size[rows]], axis=1) * lot
    levels = np.unique(prices[np.isfinite(prices)])
    low, span = (levels[0], np.ptp(levels)) if len(levels) else (0.0, 0.0)
    # A band a price step, where they are few enough: or stripes would run through the image.
    steps = span / np.diff(levels).min() if len(levels) > 1 else 1.0
    count = int(min(max(round(steps), 1), ROWS)) + 1
    image = np.zeros((count, len(rows)))
    column, level = np.nonzero(np.isfinite(prices))
    place = np.rint((prices[column, level] - low) / max(span, 1e-300) * (count - 1)).astype(np.int64)
    np.add.at(image, (place, column), sizes[column, level])
    image[image == 0.0] = np.nan
    bound = float(np.quantile(np.abs(image[np.isfinite(image)]), 0.9)) if len(levels) else 1.0
    return go.Heatmap(
        x=axis_of(best.ts_event[rows], zone),
        y=np.linspace(low, low + span, count),
        z=image,
        name="size",
        zmin=-bound,
        zmax=bound,
        colorscale=[(0.0, ORANGE), (0.5, "rgba(138,143,152,0.05)"), (1.0, BLUE)],
        showscale=False,
        hoverongaps=False,
        hovertemplate="%{x}<br>%{y}: %{z:,.6~g}",
    )


__all__ = ["figure_book", "figure_depth", "figure_flow", "figure_impact"]
