"""What every venue's side of the wire has in common: its books as it would send them, and what a client asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import msgspec


class Topic(NamedTuple):
    """What a frame is about: ``book``, ``trades`` or ``quotes`` of a pair."""

    channel: str
    pair: str


class Client:
    """One connection: what it subscribed to, and what the venue numbers by connection."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.topics: dict[Topic, str] = {}  # and the venue's own name or number for it
        self.sequence = 0
        self.flags = self.channels = 0


class VenueSide(ABC):
    """One venue: told the capture's frames in order, it knows every book; heard a client, it answers.

    Texts of prices and sizes stay as the venue wrote them, so its checksums hold for the images that are made here too.
    """

    def __init__(self) -> None:
        self.known: set[Topic] = set()  # topics of the whole capture
        self.now = 0  # ns UTC of the latest frame that was played

    def learn(self, frame: bytes) -> None:
        """Look at a frame before the market begins: the venue lists what the capture has."""
        topic = self.topic(frame)
        if topic is not None:
            self.known.add(topic)

    @property
    def pairs(self) -> set[str]:
        """Every pair that the capture has something of."""
        return {topic.pair for topic in self.known}

    @abstractmethod
    def topic(self, frame: bytes) -> Topic | None:
        """Return what a frame of the capture is about; None for what each connection gets anew, such as replies."""

    @abstractmethod
    def play(self, frame: bytes) -> None:
        """Bring the venue's books up to date."""

    @abstractmethod
    def opening(self, client: Client) -> list[str]:
        """Return what a new connection is sent."""

    @abstractmethod
    def hear(self, message: Any, client: Client) -> list[str]:
        """Return the answers to a message, images of books included."""

    def dress(self, frame: bytes, topic: Topic, client: Client) -> str:
        """Return a frame of the capture as this client is to get it."""
        return frame.decode()

    def skip(self, topic: Topic, client: Client) -> None:
        """Note that this client did not get a frame: a number is used up."""
        client.sequence += 1

    def beat(self, client: Client) -> list[str]:
        """Return the heartbeats of this second."""
        return []

    def read(self, text: str) -> Any:
        """Return a client's message; a plain text where it is no JSON."""
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError:
            return text


class TextBook:
    """A book's levels as rows in the venue's own words, by price."""

    def __init__(self) -> None:
        self.sides: tuple[dict[float, Any], dict[float, Any]] = ({}, {})

    def set(self, side: int, price: str, row: Any) -> None:
        """Put a level's row; None takes it out."""
        if row is None:
            self.sides[side].pop(float(price), None)
        else:
            self.sides[side][float(price)] = row

    def rows(self, side: int) -> list[Any]:
        """Return one side's rows, best first."""
        return [row for _, row in sorted(self.sides[side].items(), reverse=not side)]

    def truncate(self, depth: int) -> None:
        """Drop the worst levels of each side beyond `depth`."""
        for side, levels in enumerate(self.sides):
            for price in sorted(levels, reverse=not side)[depth:]:
                del levels[price]


def is_zero(size: str) -> bool:
    """Tell whether a size's text is zero in any spelling."""
    return not size.strip("0.")


def text(message: Any) -> str:
    """Return a message as the venues write them."""
    return msgspec.json.encode(message).decode()
