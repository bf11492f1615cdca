"""Our peer connection with a foreign peer: descriptions there and back, and an echo of everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..support.connections import Connection
    from ..support.peers import Peer

SIZES = (1, 2, 1135, 1136, 1137, 4096, 65535, 65536, 262144)


async def offer_to(peer: Peer, connection: Connection) -> None:
    """We offer."""
    connection.peer.apply_answer(await peer.answer(connection.peer.create_offer()))
    await connection.connected()


async def answer(peer: Peer, connection: Connection) -> None:
    """The peer, started with ``-offer``, offers."""
    await peer.accept(connection.peer.accept_offer(await peer.offer()))
    await connection.connected()


async def check_echo(connection: Connection, channel_id: int, *, most: int = SIZES[-1]) -> None:
    """Messages of all sizes and kinds come back as they were."""
    sent = [(bytes([size % 251]) * size, False) for size in SIZES if size <= most]
    sent += [("grün" * 300, True), ("", True), (b"", False)]
    sent = [(data.encode() if isinstance(data, str) else data, text) for data, text in sent]
    for data, text in sent:
        connection.peer.send(channel_id, data, text=text)
    await connection.receive(len(sent), channel_id)
    assert [(data, text) for got, data, text in connection.messages if got == channel_id] == sent
