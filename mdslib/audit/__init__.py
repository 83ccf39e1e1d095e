"""Does the day's record add up? Tape against fold, tape against what was sent, tape against the venue's orders.

Everything here takes arrays and values; files are read by whoever asks (`mds audit`, the live session).
"""

from mdslib.audit.orders import compare_orders
from mdslib.audit.refold import audit, fold_of
from mdslib.audit.report import AuditReport, Finding
from mdslib.audit.sent import compare_sent

__all__ = ["AuditReport", "Finding", "audit", "compare_orders", "compare_sent", "fold_of"]
