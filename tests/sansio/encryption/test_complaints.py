"""Everything is counted, and reported now and then."""

from __future__ import annotations

from trio_livekit._sansio.encryption.complaints import Complaint, Complaints, DecryptionFailureReason

MISSING, WRONG = DecryptionFailureReason.MISSING_KEY, DecryptionFailureReason.UNDECRYPTABLE


def test_the_first_is_reported_at_once_and_the_rest_every_ten_seconds() -> None:
    complaints = Complaints()
    reports = [complaints.add("bob", WRONG, now=100 + tenths / 10) for tenths in range(250)]
    assert [(index, report) for index, report in enumerate(reports) if report is not None] == [
        (0, Complaint("bob", WRONG, 1)),
        (100, Complaint("bob", WRONG, 100)),
        (200, Complaint("bob", WRONG, 100)),
    ]
    assert complaints.totals == {WRONG: 250}


def test_senders_are_reported_apart() -> None:
    complaints = Complaints()
    assert complaints.add("bob", WRONG, 0) == Complaint("bob", WRONG, 1)
    assert complaints.add("carol", MISSING, 0) == Complaint("carol", MISSING, 1)
    assert complaints.add("bob", MISSING, 1) is None
    assert complaints.totals == {WRONG: 1, MISSING: 2}


def test_so_many_senders_are_remembered_and_no_more() -> None:
    complaints = Complaints()
    for number in range(3000):
        assert complaints.add(f"sender {number}", WRONG, 0) is not None
    assert complaints.add("sender 2999", WRONG, 0) is None
    assert len(complaints._senders) == 1024
