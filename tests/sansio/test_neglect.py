"""Who does not read is named, and given up: only while that holds up others, and never one that reads."""

from __future__ import annotations

from dataclasses import dataclass

from trio_livekit._sansio.neglect import CHECK_S, CROWDED_BYTES, NEGLECTED_S, Neglect


@dataclass(eq=False)
class Reader:
    reads: int = 0
    unread: int = 1
    patience_s: float = 20.0


def look(neglect: Neglect[Reader], readers: list[Reader], since: float, until: float, held: int = CROWDED_BYTES):
    """Look as often as one should; who was told of, and who was given up, and when."""
    told, given_up = [], []
    for step in range(int(since / CHECK_S), int(until / CHECK_S)):
        now = step * CHECK_S
        slow, hopeless = neglect.check(readers, held, now)
        told += [(reader, now) for reader in slow]
        given_up += [(reader, now) for reader in hopeless]
        for reader in hopeless:
            readers.remove(reader)
    return told, given_up


def test_one_that_does_not_read_is_told_of_once_and_then_given_up():
    neglect, stopped, idle = Neglect[Reader](), Reader(), Reader(unread=0)
    assert look(neglect, [stopped, idle], 0, 60) == ([(stopped, NEGLECTED_S)], [(stopped, 20.0)])


def test_one_that_reads_now_and_then_is_not_given_up():
    neglect, slow = Neglect[Reader](), Reader()
    for second in range(0, 100, 10):
        slow.reads += 1
        told, given_up = look(neglect, [slow], second, second + 10)
        assert (told, given_up) == ([(slow, second + NEGLECTED_S)], [])


def test_what_holds_up_nothing_may_wait_and_that_time_does_not_count():
    neglect, stopped = Neglect[Reader](), Reader()
    assert look(neglect, [stopped], 0, 19) == ([(stopped, NEGLECTED_S)], [])
    assert look(neglect, [stopped], 19, 1000, CROWDED_BYTES - 1) == ([], [])
    assert look(neglect, [stopped], 1000, 1019) == ([(stopped, 1000 + NEGLECTED_S)], [])
