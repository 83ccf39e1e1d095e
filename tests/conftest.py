"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Machines are shared and kernels compile at their first call: a slow example is no failure. Examples are the same at
# each run, so that a run that fails can be repeated; what is found at random is `make fuzz`'s business.
settings.register_profile("mdslib", deadline=None, derandomize=True)
settings.load_profile("mdslib")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real market data, read in place; tests that need it skip where it is absent."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MDSLIB_SHARED_DATA", beside))
    if not folder.is_dir():
        pytest.skip("real market data is not on this machine: looked for shared/data beside it and $MDSLIB_SHARED_DATA")
    return folder


@pytest.fixture(autouse=True, scope="session")
def imported(request: pytest.FixtureRequest) -> None:
    """Import the venue's clients now, where a test meets a venue.

    They filter warnings while they are imported. Python keeps one list of filters for all threads, and Numba puts back
    an older one at every step of a compilation: where an exchange in this process compiles meanwhile, the filter is
    lost, and a warning of theirs ends a test that has nothing to do with it.
    """
    if {item.path.parent.name for item in request.session.items} & {"brokers", "feeds", "live", "sim", "throw"}:
        from mdslib.brokers.alpaca import _trading_client

        _trading_client()


@pytest.fixture(autouse=True, scope="session")
def seal_key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Sign the records of the tests' runs with a key of their own, here and in every child process."""
    path = tmp_path_factory.mktemp("keys") / "seal.key"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MDS_SEAL_KEY", str(path))
        yield path
