"""What every REST call goes through: keys, rate limit, JSON bodies, refusals in the venue's words."""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec.json
import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from mdslib.sim.floor import Floor
from mdslib.sim.orders import INVALID, Refusal

Answer = Callable[[Request, Floor], Awaitable[Any]]
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|z|[+-]\d\d:?\d\d)?\Z")


class Json(Response):
    """A JSON body, encoded by msgspec."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Encode; raw bytes are JSON already, None is an empty body."""
        if content is None:
            return b""
        return content if isinstance(content, bytes) else msgspec.json.encode(content)


def guarded(answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    """Make an endpoint of a function that returns a JSON value, or raises `Refusal`."""

    @functools.wraps(answer)
    async def endpoint(request: Request) -> Response:
        floor: Floor = request.app.state.floor
        within, headers = floor.rate_limit.count()
        key, secret = request.headers.get("apca-api-key-id"), request.headers.get("apca-api-secret-key")
        if not floor.keys.match(key, secret):
            return Json({"message": "unauthorized."}, 401, headers)
        if not within:
            return Json({"code": 42910000, "message": "rate limit exceeded"}, 429, headers)
        try:
            content = await answer(request, floor)
        except Refusal as refusal:
            return Json(refusal.body, refusal.status, headers)
        if isinstance(content, Response):
            content.headers.update(headers)
            return content
        return Json(content, 200, headers)

    return endpoint


async def json_body(request: Request) -> Any:
    """Return the request's JSON body.

    Raises
    ------
    Refusal
        400 where it is not JSON.
    """
    try:
        return msgspec.json.decode(await request.body())
    except msgspec.DecodeError:
        raise Refusal(400, 40010000, "request body format is invalid") from None


def whole_number(request: Request, name: str, default: int, low: int, high: int, status: int = 422) -> int:
    """Return an integer query parameter within bounds."""
    text = request.query_params.get(name)
    if text is None or text == "":
        return default
    if not text.isdigit() or not low <= int(text) <= high:
        raise Refusal(
            status,
            INVALID if status == 422 else None,
            f"invalid {name}: {text!r} must be a whole number from {low} to {high}",
        )
    return int(text)


def parse_time(text: str, *, end_of_day: bool = False) -> int:
    """Return ns UTC of an RFC 3339 time, or of a date, which means midnight UTC (its last ns for an end).

    Examples
    --------
    >>> parse_time("2013-10-08T09:30:00.5-04:00") == parse_time("2013-10-08T13:30:00.500000000Z")
    True
    >>> parse_time("2013-10-08", end_of_day=True) - parse_time("2013-10-08")
    86399999999999
    """
    try:
        if len(text) == 10:
            start = int(np.datetime64(datetime.date.fromisoformat(text), "ns").astype(np.int64))
            return start + 86_399_999_999_999 if end_of_day else start
        found = _RFC3339.match(text)
        if found is None:
            raise ValueError(text)
        day, clock, fraction, zone = found.groups()
        moment = datetime.datetime.fromisoformat(f"{day}T{clock}{'+00:00' if zone in (None, 'Z', 'z') else zone}")
    except ValueError:
        raise Refusal(
            422, INVALID, f"invalid time: {text!r} must be RFC 3339, like 2013-10-08T13:30:00Z, or YYYY-MM-DD"
        ) from None
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    seconds = (moment - epoch) // datetime.timedelta(seconds=1)
    return seconds * 1_000_000_000 + int((fraction or "0").ljust(9, "0"))
