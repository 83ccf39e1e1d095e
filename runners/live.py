"""What systemd runs on a trading day: `mds live` as a script, with the same arguments and exit codes.

0 done, or no session today; 1 the audit failed; 2 configuration; 3 the model raised; 4 feed or broker failed; 5 the
notebook's kernel died or hung; 6 another cell of the notebook failed; 7 orders still work at the venue, or the day
did not end flat; 8 the disk is full; 130 and 143 stopped before a clean end.
"""

import sys

from mdslib.cli import run

if __name__ == "__main__":
    sys.exit(run(["live", *sys.argv[1:]]))
