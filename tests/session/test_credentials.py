"""Which token a session comes back with."""

from __future__ import annotations

from trio_livekit._session.credentials import Credentials


async def test_the_last_token_that_there_was() -> None:
    credentials = Credentials("from the application")
    credentials.refresh("")  # which could not be used for anything
    assert await credentials.token() == "from the application"
    assert credentials.is_ours
    credentials.refresh("from the server")
    assert await credentials.token() == "from the server"
    assert not credentials.is_ours


async def test_another_token_is_asked_for_once() -> None:
    asked = 0

    async def source() -> str:
        nonlocal asked
        asked += 1
        return f"token {asked}"

    credentials = Credentials(source)
    assert await credentials.token() == await credentials.token() == "token 1"
    assert credentials.renew()
    assert await credentials.token() == "token 2"
    assert not credentials.renew()  # that one is not accepted either
    credentials.accepted()
    assert credentials.renew()
