"""`python -m mdslib.cli` is `mds`, for systemd units and machines where the script is not on the path."""

from mdslib.cli import main

main()
