"""Is a quiet socket mute, or is the market quiet? A rule without clocks or sockets."""

from __future__ import annotations

from enum import Enum

FLOOR = 30.0  # s; less is never suspicious
DOUBT = 4.0  # times the longest lull of the day
ALARM = 20.0  # times the longest lull of the day
UNKNOWN = 300.0  # s; least quiet before an alarm while the instrument's rate is not known
ENOUGH = 100  # frames after which it is


class Quiet(Enum):
    """What a quiet socket is taken for."""

    CALM = "calm"
    DOUBTFUL = "doubtful"  # longer than usual: ask the venue's history whether something was missed
    MUTE = "mute"  # much longer than usual


class Lull:
    """Compares how long a socket has been quiet with the longest lull that the day has had.

    Looked at a few times a second; a lull counts once it has ended, or once the venue's history has confirmed that
    nothing was missed in it, so that an alarm that was none raises the bar.

    =========  ==========================================================================================
    verdict    quiet for longer than
    =========  ==========================================================================================
    DOUBTFUL   30 s, and 4 times the longest lull of the day
    MUTE       30 s, and 20 times the longest lull; 5 minutes before the first hundred frames
    =========  ==========================================================================================

    Parameters
    ----------
    floor : float
        Quiet that is never suspicious, s; all other times are in proportion to it.

    Attributes
    ----------
    longest : float
        The longest lull so far, s.

    Examples
    --------
    >>> lull = Lull()
    >>> [lull.look(quiet, frames=500, trading=True).value for quiet in (10.0, 0.1, 35.0, 45.0, 210.0)]
    ['calm', 'calm', 'calm', 'doubtful', 'mute']
    >>> lull.look(210.0, frames=500, trading=False).value
    'calm'
    """

    def __init__(self, floor: float = FLOOR) -> None:
        self._floor = floor
        self.longest = 0.0
        self._last = 0.0

    def look(self, quiet: float, frames: int, *, trading: bool) -> Quiet:
        """Judge a quiet of so many seconds, after so many frames today; outside the session nothing is judged."""
        if not trading:
            self._last = 0.0
            return Quiet.CALM
        if quiet < self._last:
            self.longest = max(self.longest, self._last)
        self._last = quiet
        least = self._floor if frames >= ENOUGH else self._floor * UNKNOWN / FLOOR
        if quiet > max(least, ALARM * self.longest):
            return Quiet.MUTE
        return Quiet.DOUBTFUL if quiet > max(self._floor, DOUBT * self.longest) else Quiet.CALM

    def confirmed(self) -> None:
        """Note that the present lull is real: the venue's history has nothing newer either."""
        self.longest = max(self.longest, self._last)

    def began(self) -> None:
        """Note a new connection: the quiet before it was no lull of the market."""
        self._last = 0.0
