"""The descriptions of one peer connection: ours are made here, and the peer's are given to the core.

Two sides exchange an offer and an answer once, and again for an ICE restart. A description is taken as a further one of
the same connection if its certificate is the same (RFC 8842 section 4).
"""

from __future__ import annotations

__all__ = ["Descriptions"]

import logging
import secrets
from typing import TYPE_CHECKING

from .._sansio.dtls import Fingerprint, Role
from .._sansio.ice.candidate import Candidate
from .._sansio.peer import RemoteDescription
from .._sansio.sdp import DEFAULT_MAX_MESSAGE_SIZE, LocalDescription, SessionDescription, Setup, data_answer, data_offer
from ..errors import DecodeError

if TYPE_CHECKING:
    from .._sansio.peer import Peer
logger = logging.getLogger(__name__)


class Descriptions:
    """What was offered and answered.

    Attributes:
        candidates: ours, as far as they are known; they are part of every description.
        max_message_size: bytes in the largest message that the peer takes, once its description is there.
    """

    def __init__(self, core: Peer, fingerprint: Fingerprint, name: str) -> None:
        self.candidates: list[Candidate] = []
        self.max_message_size = DEFAULT_MAX_MESSAGE_SIZE
        self._core = core
        self._name = name
        self._fingerprint = str(fingerprint)
        self._session_id = secrets.randbits(62)
        self._version = 0
        self._answered: Setup | None = None  # as what, if the other side offered
        self._remote_ufrag = ""
        self._remote_fingerprints: frozenset[str] = frozenset()

    def offer(self) -> str:
        """An offer for data channels."""
        return data_offer(self._local(Setup.ACTPASS))

    def on_answer(self, sdp: str, now: float) -> None:
        """The answer to our offer. Raises ``DecodeError``."""
        remote = SessionDescription.parse(sdp)
        self._start(Role.CLIENT if remote.setup is Setup.PASSIVE else Role.SERVER, remote, now)

    def answer(self, sdp: str, preferred: Setup, now: float) -> str:
        """Take an offer and return the answer. Raises ``DecodeError``."""
        remote = SessionDescription.parse(sdp)
        setup = {Setup.ACTIVE: Setup.PASSIVE, Setup.PASSIVE: Setup.ACTIVE}.get(remote.setup, preferred)
        answer = data_answer(remote, self._local(setup))
        self._start(Role.CLIENT if setup is Setup.ACTIVE else Role.SERVER, remote, now)
        self._answered = setup
        return answer

    def on_restart_answer(self, sdp: str, now: float) -> None:
        """The answer to a further offer of ours. Raises ``DecodeError``, also for the answer of another connection."""
        remote = SessionDescription.parse(sdp)
        if frozenset(remote.fingerprints) != self._remote_fingerprints:
            raise DecodeError("the answer is one of another connection")
        self._set_remote(remote, now)

    def restart_answer(self, sdp: str, now: float) -> str:
        """Take a further offer, and return the answer. Raises ``DecodeError``, also for that of another connection."""
        remote = SessionDescription.parse(sdp)
        if self._answered is None or frozenset(remote.fingerprints) != self._remote_fingerprints:
            raise DecodeError("the offer is one of another connection")
        if remote.ufrag != self._remote_ufrag:
            self._core.ice.restart(now)
        answer = data_answer(remote, self._local(self._answered))
        self._set_remote(remote, now)
        return answer

    def on_candidate(self, line: str, now: float) -> None:
        """A candidate of the peer's; an empty line says that there are no more. Nonsense is ignored."""
        if not line:
            self._core.ice.end_of_candidates(now)
            return
        try:
            self._core.ice.add_remote_candidate(Candidate.parse(line), now)
        except DecodeError as exc:
            logger.debug("%s: ignored a remote candidate: %s", self._name, exc)

    # --- the rest -----------------------------------------------------------------------------------------------------

    def _local(self, setup: Setup) -> LocalDescription:
        self._version += 1
        return LocalDescription(
            ufrag=self._core.ice.ufrag,
            password=self._core.ice.password,
            fingerprint=self._fingerprint,
            setup=setup,
            session_id=self._session_id,
            version=self._version,
            candidates=tuple(candidate.to_sdp() for candidate in self.candidates),
        )

    def _start(self, role: Role, remote: SessionDescription, now: float) -> None:
        description = RemoteDescription(
            ufrag=remote.ufrag,
            password=remote.password,
            fingerprints=tuple(Fingerprint.parse(text) for text in remote.fingerprints),
            lite=remote.ice_lite,
            max_message_size=remote.max_message_size,
        )
        self._core.start(role, description, now)
        self.max_message_size = description.max_message_size
        self._remote_fingerprints = frozenset(remote.fingerprints)
        self._set_remote(remote, now)

    def _set_remote(self, remote: SessionDescription, now: float) -> None:
        self._core.ice.set_remote_parameters(remote.ufrag, remote.password, lite=remote.ice_lite, now=now)
        self._remote_ufrag = remote.ufrag
        for line in remote.candidates:
            self.on_candidate(line, now)
        if remote.end_of_candidates:
            self.on_candidate("", now)
