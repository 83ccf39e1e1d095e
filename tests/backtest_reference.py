"""A back-test once more, slowly: one instrument, trades, market orders; plain Python, written from the rules.

A model is a rule: from a trade's size to an order (a signed quantity), a target (a position), or nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from mdslib.matching.kernels import _uniform  # the one thing shared: the same numbers at random

Rule = Callable[[int], tuple[str, float] | None]


class Reference:
    def __init__(self, rule: Rule, *, alpaca: bool, latency: int, cash: float, bps: float, seed: int) -> None:
        self.rule, self.alpaca, self.latency, self.bps, self.seed = rule, alpaca, latency, bps, seed
        self.decisions: list[list[Any]] = []  # row, qty sent, qty parked
        self.told: list[tuple[Any, ...]] = []  # time, decision, qty, px, leaves
        self.working: list[dict[str, Any]] = []
        self.accepted = 0
        self.venue_position, self.venue_cash, self.last = 0.0, cash, math.nan
        self.position, self.parked, self.cash = 0.0, 0.0, cash
        self.open: list[list[float]] = []  # what the model's side believes to work: [decision, leaves]

    def run(self, ts: Sequence[int], px: Sequence[float], size: Sequence[int]) -> None:
        row = 0
        while row < len(ts):
            instant, news = ts[row], []
            submitted = len(self.decisions)
            while row < len(ts) and ts[row] == instant:
                news += self._match(instant, px[row])
                self.last = px[row]
                answer = self.rule(size[row])
                if answer is not None:
                    self._decide(row, *answer)
                row += 1
            while True:
                while submitted < len(self.decisions):
                    self._submit(instant, submitted, row)
                    submitted += 1
                if not news:
                    break
                for fill in news:
                    self._learn(fill, row)
                news = []

    def _match(self, ts: int, px: float) -> list[tuple[Any, ...]]:
        news = []
        for order in list(self.working):
            if ts <= order["ts"] + self.latency:
                continue
            qty, chance = order["leaves"], order["chance"]
            order["chance"] += 1
            if self.alpaca and abs(qty) >= 2 and _uniform(self.seed, order["number"], 2 * chance) < 0.1:
                whole = 1 + math.floor(_uniform(self.seed, order["number"], 2 * chance + 1) * (abs(qty) - 1))
                qty = math.copysign(whole, qty)
            order["leaves"] -= qty
            if order["leaves"] == 0:
                self.working.remove(order)
            self.venue_position += qty
            self.venue_cash -= qty * px + abs(qty) * px * self.bps / 10_000
            news.append((ts, order["decision"], qty, px, order["leaves"]))
        self.told += news
        return news

    def _working(self, sign: float) -> float:
        return sum(abs(leaves) for _, leaves in self.open if leaves * sign > 0)

    def _decide(self, row: int, verb: str, qty: float) -> None:
        if verb == "target":
            qty -= self.position + sum(leaves for _, leaves in self.open) + self.parked
            if qty == 0:
                return
        now, left = qty, qty
        if self.alpaca:
            if self.parked * left < 0:
                taken = math.copysign(min(abs(left), abs(self.parked)), left)
                self.parked += taken
                left -= taken
            now = left
            if self.position * left < 0:
                now = math.copysign(min(abs(left), max(0.0, abs(self.position) - self._working(left))), left)
            self.parked += left - now
        self.open.append([len(self.decisions), now])
        self.decisions.append([row, now, qty - now])

    def _submit(self, ts: int, number: int, row: int) -> None:
        qty = self.decisions[number][1]
        if qty == 0:
            return
        if self.alpaca and self._refused(qty):
            self.told.append((ts, number, 0.0, 0.0, qty))
            self._learn((ts, number, 0.0, 0.0, 0.0), row)
            return
        self.working.append({"ts": ts, "decision": number, "leaves": qty, "number": self.accepted, "chance": 0})
        self.accepted += 1

    def _refused(self, qty: float) -> bool:
        if any(order["leaves"] * qty < 0 for order in self.working):
            return True
        same = [order["leaves"] for order in self.working if order["leaves"] * qty > 0]
        if self.venue_position * qty < 0:
            return abs(qty) > abs(self.venue_position) - sum(map(abs, same))
        dear = {True: self.last, False: self.last * 1.03}
        reserved = sum(abs(leaves) * dear[leaves > 0] for leaves in same if self.venue_position * leaves >= 0)
        equity = self.venue_cash + self.venue_position * self.last
        return abs(qty) * dear[qty > 0] > 4 * equity - abs(self.venue_position) * self.last - reserved

    def _learn(self, news: tuple[Any, ...], row: int) -> None:
        _, number, qty, px, leaves = news
        self.position += qty
        self.cash -= qty * px + abs(qty) * px * self.bps / 10_000
        self.open = [[n, leaves if n == number else left] for n, left in self.open if n != number or leaves != 0]
        self.open = [entry for entry in self.open if entry[1] != 0]
        if self.parked == 0:
            return
        if self.position * self.parked < 0:
            if not self.open:
                self.parked = 0.0
            return
        qty, self.parked = self.parked, 0.0
        self.open.append([len(self.decisions), qty])
        self.decisions.append([row, qty, 0.0])
