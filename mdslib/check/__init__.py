"""The conformance suite of the strategy contract: laws that every model keeps, for `mds check` and for pytest.

Use it on models of your own::

    from mdslib.check import conformance

    test_my_model = conformance("my_model")
"""

from mdslib.check.case import Case
from mdslib.check.laws import Law, checks
from mdslib.check.report import CheckReport, Finding
from mdslib.check.suite import check_model, conformance

__all__ = ["Case", "CheckReport", "Finding", "Law", "check_model", "checks", "conformance"]
