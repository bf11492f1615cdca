"""The foreign peers work with each other, so that a failure against ours is ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

if TYPE_CHECKING:
    from ..support.peers import Peer


async def connect(offerer: Peer, answerer: Peer) -> None:
    with trio.fail_after(20):
        await offerer.accept(await answerer.answer(await offerer.offer()))
        for peer in (offerer, answerer):
            await peer.wait_logged("state connected")
            await peer.wait_logged("open echo")


@pytest.mark.parametrize(
    "flags",
    [
        ["-role", "active"],
        ["-role", "passive", "-nohvr"],
        ["-lite", "-zerosum"],
        ["-tcp"],
    ],
    ids=" ".join,
)
async def test_pion_answers_pion(pion_peer, flags):
    transport = [flag for flag in flags if flag in ("-tcp", "-zerosum")]
    async with pion_peer("-offer", *transport) as offerer, pion_peer(*flags) as answerer:
        await connect(offerer, answerer)


async def test_aiortc_answers_pion(pion_peer, aiortc_peer):
    async with pion_peer("-offer", "-open", "echo,sink", "-lossy") as offerer, aiortc_peer() as answerer:
        await connect(offerer, answerer)
        await answerer.wait_logged("open sink")


async def test_pion_answers_aiortc(pion_peer, aiortc_peer):
    async with aiortc_peer("-offer", "-open", "echo,flood", "-fn", "3") as offerer, pion_peer() as answerer:
        await connect(offerer, answerer)
        await answerer.wait_logged("open flood")


async def test_a_peer_that_fails_says_why(pion_peer):
    async with pion_peer("-role", "sideways", "-keylog") as peer:
        with pytest.raises(EOFError, match="sideways"), trio.fail_after(5):
            await peer.offer()
