"""Which datagrams may share one segmented send."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trio_livekit._transport import offload
from trio_livekit._transport.offload import MAX_RUN_BYTES, MAX_RUN_DATAGRAMS, run_end, segment_size


def runs(datagrams: list[bytes]) -> list[list[bytes]]:
    found, start = [], 0
    while start < len(datagrams):
        end = run_end(datagrams, start)
        found.append(datagrams[start:end])
        start = end
    return found


def lengths(datagrams: list[bytes]) -> list[list[int]]:
    return [[len(data) for data in run] for run in runs(datagrams)]


def test_a_shorter_datagram_ends_a_run_and_a_longer_one_starts_the_next():
    assert lengths([b"aaa", b"bbb", b"c", b"ddd", b"eeee"]) == [[3, 3, 1], [3], [4]]


def test_empty_datagrams_travel_alone():
    assert lengths([b"", b"", b"a", b""]) == [[0], [0], [1], [0]]


@given(st.lists(st.sampled_from([0, 1, 40, 1200, 1201, 40_000, 65_507]), max_size=200))
def test_runs_partition_the_datagrams_within_what_the_kernel_takes(sizes: list[int]):
    datagrams = [bytes(size) for size in sizes]
    found = runs(datagrams)
    assert [data for run in found for data in run] == datagrams
    for run in found:
        assert len(run) <= MAX_RUN_DATAGRAMS
        assert len(run) == 1 or sum(map(len, run)) <= MAX_RUN_BYTES
        assert all(len(data) == len(run[0]) for data in run[:-1])
        assert len(run) == 1 or 0 < len(run[-1]) <= len(run[0])


def test_segment_size_reads_only_its_own_ancillary_data():
    size = (1200).to_bytes(4, "little" if offload.segmentation_header(1)[0][2][0] else "big")
    assert segment_size([(1, 2, b"other"), (17, 104, size)]) == 1200
    assert segment_size([(17, 104, b"\0")]) == 0
    assert segment_size([]) == 0
