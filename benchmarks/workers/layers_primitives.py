"""The least that Python can do for a packet at each layer: struct, AES-GCM, a system call. Nothing is checked."""

from __future__ import annotations

import os
import socket
import struct
import time
from typing import Any

import google_crc32c
import trio
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from lines import serve_trio
from stopwatch import cost_ns

BURST = 32
FRAME = bytes(1024)
PACKET = bytes(1191)
MESSAGE = bytes(1024)
UDP_SEGMENT = 103

TRACK_HEADER = struct.Struct("!BBHHHI")
COMMON_HEADER = struct.Struct(">HHLL")
DATA_HEADER = struct.Struct(">BBHLHHL")
RECORD_HEADER = struct.Struct(">BHQHQ")
NONCE = struct.Struct(">4sQ")
ADDITIONAL_DATA = struct.Struct(">QBHH")


def packetize() -> int:
    for number in range(BURST):
        TRACK_HEADER.pack(24, 0, 1, number, number, 0) + FRAME
    return BURST


def sctp_send() -> int:
    for number in range(BURST):
        chunk = DATA_HEADER.pack(0, 3, 1040, number, 1, number, 53) + MESSAGE
        COMMON_HEADER.pack(5000, 5000, 1, 0) + chunk
    return BURST


SCTP_PACKET = COMMON_HEADER.pack(5000, 5000, 1, 0) + DATA_HEADER.pack(0, 3, 1040, 1, 1, 1, 53) + MESSAGE


def sctp_receive() -> int:
    packet = SCTP_PACKET
    for _ in range(BURST):
        COMMON_HEADER.unpack_from(packet)
        DATA_HEADER.unpack_from(packet, 12)
        packet[28:]
    return BURST


def checksum() -> int:
    for _ in range(BURST):
        google_crc32c.value(PACKET)
    return BURST


def seal(aead: AESGCM) -> list[bytes]:
    return [
        RECORD_HEADER.pack(23, 0xFEFD, number, 1215, number)
        + aead.encrypt(NONCE.pack(b"salt", number), PACKET, ADDITIONAL_DATA.pack(number, 23, 0xFEFD, 1191))
        for number in range(BURST)
    ]


def open_records(aead: AESGCM, records: list[bytes]) -> int:
    for record in records:
        _, _, number, length, _ = RECORD_HEADER.unpack_from(record)
        aead.decrypt(b"salt" + record[13:21], record[21:], ADDITIONAL_DATA.pack(number, 23, 0xFEFD, length - 24))
    return len(records)


def udp(seconds: float) -> tuple[float, float]:
    left, right = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    right.bind(("127.0.0.1", 0))
    address = right.getsockname()
    burst, ancillary = [PACKET] * BURST, [(socket.SOL_UDP, UDP_SEGMENT, struct.pack("=H", len(PACKET)))]
    sent_ns = received_ns = packets = 0
    while sent_ns + received_ns < seconds * 2e9:
        start = time.thread_time_ns()
        left.sendmsg(burst, ancillary, 0, address)
        middle = time.thread_time_ns()
        for _ in range(BURST):
            right.recvfrom(2048)
        received_ns += time.thread_time_ns() - middle
        sent_ns += middle - start
        packets += BURST
    left.close()
    right.close()
    return sent_ns / packets, received_ns / packets


class Worker:
    async def measure(self, seconds: float) -> dict[str, Any]:
        aead = AESGCM(os.urandom(16))
        records = seal(aead)
        values = {
            "packetize": cost_ns(packetize, seconds),
            "SCTP send": cost_ns(sctp_send, seconds),
            "SCTP receive": cost_ns(sctp_receive, seconds),
            "CRC32C": cost_ns(checksum, seconds),
            "DTLS seal": cost_ns(lambda: len(seal(aead)), seconds),
            "DTLS open": cost_ns(lambda: open_records(aead, records), seconds),
        }
        values["UDP send"], values["UDP receive"] = udp(seconds)
        return values


trio.run(serve_trio, Worker())
