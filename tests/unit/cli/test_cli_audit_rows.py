"""Verdicts on audit trails as a table: what is whole, from where on, and what is not."""

from qnetem.cli.key_admins import audit_rows
from qnetem.testbed.key_admin import AuditVerdict


def test_a_trail_says_where_it_begins_when_its_oldest_entries_went() -> None:
    verdicts = [
        AuditVerdict("a", 12),
        AuditVerdict("b", 12, first_seq=250_001),
        AuditVerdict("c", 3, fault="entry 4: was altered"),
        AuditVerdict("d", unknown="no answer"),
    ]
    assert audit_rows(verdicts) == [
        ("a", "12", "whole"),
        ("b", "12", "whole, from entry 250001 on"),
        ("c", "3", "entry 4: was altered"),
        ("d", "-", "no answer"),
    ]
