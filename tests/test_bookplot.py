"""Figures of order books: named traces, and what they draw is what the book held."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mdslib import bookplot
from mdslib.book import OrderBook, Tops, order_flow, tops
from mdslib.store.madebook import made_books


@pytest.fixture(scope="module")
def day():
    return made_books(messages=600)


def traces(figure):
    return {trace.name: trace for trace in figure.data}


def test_depth_is_summed_from_the_best_price_outwards():
    book = OrderBook(0.5)
    for side, price, size in (("bid", 100.0, 3), ("bid", 99.0, 4), ("ask", 101.0, 1)):
        book.set(side, price, size)
    drawn = traces(bookplot.figure_depth(book, lot=0.5))
    assert (drawn["bids"].x.tolist(), drawn["bids"].y.tolist()) == ([100.0, 100.0, 99.0, 99.0], [0.0, 1.5, 1.5, 3.5])
    assert (drawn["asks"].x.tolist(), drawn["asks"].y.tolist()) == ([101.0, 101.0], [0.0, 0.5])
    assert len(traces(bookplot.figure_depth(OrderBook(0.5)))["bids"].x) == 0


def test_the_books_image_shows_every_size_at_its_price_bids_above_zero(day):
    best = tops(day, 5).between(0, 2**62)
    drawn = traces(bookplot.figure_book(best, lot=1e-9))
    assert list(drawn) == ["size", "best bid", "best ask", "spread", "imbalance"]
    image = drawn["size"]
    assert image.z.shape == (len(image.y), len(image.x))
    last = best.bid_size[-1] * 1e-9
    held = [image.z[np.abs(image.y - price).argmin(), -1] for price in best.bid[-1]]
    assert held == pytest.approx(last)
    assert image.z[np.abs(image.y - best.ask[-1, 0]).argmin(), -1] == pytest.approx(-best.ask_size[-1, 0] * 1e-9)
    assert np.nansum(image.z[:, -1]) == pytest.approx((best.bid_size[-1].sum() - best.ask_size[-1].sum()) * 1e-9)


def test_a_book_without_levels_is_drawn_empty():
    nothing, none = np.full((2, 1), np.nan), np.zeros((2, 1), np.int64)
    drawn = bookplot.figure_book(Tops(np.array([1, 2]), nothing, none, nothing, none, none[:, 0] > 0))
    assert np.isnan(traces(drawn)["size"].z).all()


def test_flow_adds_above_the_line_and_takes_below_it(day):
    flow = order_flow(day, 3, "1h")
    drawn = bookplot.figure_flow(flow).data
    assert [trace.name for trace in drawn] == ["limit", "market", "cancel"] * 2
    assert drawn[0].y == pytest.approx(flow["bid"]["limit"].sum(axis=1).to_numpy())
    assert drawn[4].y == pytest.approx(-flow["ask"]["market"].sum(axis=1).to_numpy())


def test_impact_tells_slope_and_r_squared_and_leaves_out_what_is_not_known():
    x = pd.Series([0.0, 1.0, 2.0, np.nan, 5.0])
    drawn = traces(bookplot.figure_impact(x, [1.0, 3.0, 5.0, 0.0, np.nan]))
    assert len(drawn["intervals"].x) == 3
    assert "fit: slope 2, R² 1.00" in drawn
    assert list(traces(bookplot.figure_impact([1.0, 1.0], [1.0, 2.0]))) == ["intervals"]
