"""The strategy contract and its compiled drivers."""

from __future__ import annotations

from mdslib.strategy.answers import (
    DAY,
    GTC,
    IOC,
    Answer,
    Leg,
    buy,
    cancel,
    cancel_leg,
    hold,
    leg,
    pair,
    sell,
    target,
    target_leg,
)
from mdslib.strategy.contract import Strategy, strategy
from mdslib.strategy.decide import DECISION
from mdslib.strategy.discovery import find_model, list_models
from mdslib.strategy.fold import Fold
from mdslib.strategy.timers import BeforeClose, Every

__all__ = [
    "DAY",
    "DECISION",
    "GTC",
    "IOC",
    "Answer",
    "BeforeClose",
    "Every",
    "Fold",
    "Leg",
    "Strategy",
    "buy",
    "cancel",
    "cancel_leg",
    "find_model",
    "hold",
    "leg",
    "list_models",
    "pair",
    "sell",
    "strategy",
    "target",
    "target_leg",
]
