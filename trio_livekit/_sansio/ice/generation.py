"""What belongs to one pair of credentials: an ICE restart makes a new one of these (RFC 8445 section 9)."""

from __future__ import annotations

__all__ = ["Credentials", "Generation", "LocalCandidates", "new_credentials"]

from dataclasses import field
from typing import TYPE_CHECKING

from ..records import dataclass
from .candidate import Candidate, is_pairable, is_usable_remote
from .checklist import Checklist, Pair, PairState
from .events import Path
from .pacing import SilenceBudget

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..types import Address, RandomBytes
    from .config import Config

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"  # RFC 8839 section 5.4, ice-char
_UFRAG_CHARACTERS = 8  # at least 24 bits of randomness: 4 characters
_PASSWORD_CHARACTERS = 32  # at least 128 bits: 22 characters


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user fragment and a password; the password stays out of every repr."""

    ufrag: str
    password: str = field(repr=False)

    @property
    def key(self) -> bytes:
        return self.password.encode()


def new_credentials(random_bytes: RandomBytes) -> Credentials:
    text = "".join(_ALPHABET[byte & 63] for byte in random_bytes(_UFRAG_CHARACTERS + _PASSWORD_CHARACTERS))
    return Credentials(text[:_UFRAG_CHARACTERS], text[_UFRAG_CHARACTERS:])


class LocalCandidates:
    """Our candidates, which outlive restarts. Those with a socket of their own, the bases, are paired."""

    __slots__ = ("_by_address",)

    def __init__(self) -> None:
        self._by_address: dict[tuple[Address, str], Candidate] = {}

    def add(self, candidate: Candidate) -> bool:
        key = (candidate.address, candidate.protocol)
        if key in self._by_address:
            return False
        self._by_address[key] = candidate
        return True

    def remove(self, address: Address) -> None:
        self._by_address.pop((address, "udp"), None)

    def bases(self) -> Iterator[Candidate]:
        return (c for c in self._by_address.values() if c.type in ("host", "relay"))

    def base(self, address: Address) -> Candidate | None:
        """The UDP base at ``address``, if it is one of ours."""
        candidate = self._by_address.get((address, "udp"))
        return candidate if candidate is not None and candidate.type in ("host", "relay") else None

    def at(self, address: Address, protocol: str) -> Candidate | None:
        return self._by_address.get((address, protocol))


class Generation:
    """One set of credentials on either side, the candidates the peer named with them, and the pairs made of both."""

    __slots__ = (
        "_config",
        "_ended",
        "_peer_reflexive",
        "_remote_candidates",
        "_waiting_for_ufrag",
        "budget",
        "checking_since",
        "checklist",
        "expires_at",
        "local",
        "local_key",
        "nomination",
        "remote",
        "remote_key",
    )

    def __init__(self, local: Credentials, config: Config) -> None:
        self._config = config
        self.local = local
        self.local_key = local.key
        self.remote: Credentials | None = None
        self.remote_key = b""
        self.checklist = Checklist(config.max_pairs)
        self.budget = SilenceBudget(config.max_silent_bytes)
        self.checking_since: float | None = None
        self.nomination = -1  # the highest renomination value the peer sent
        self.expires_at: float | None = None  # set once a later generation took over
        self._remote_candidates: dict[tuple[Address, str], Candidate] = {}
        self._waiting_for_ufrag: list[Candidate] = []
        self._peer_reflexive = 0
        self._ended = False

    def set_remote(self, remote: Credentials) -> list[Candidate]:
        """Learn the peer's credentials; returns candidates that arrived before them and turn out to be theirs."""
        self.remote = remote
        self.remote_key = remote.key
        for path in self.paths_claimed_by_others(remote.ufrag):
            self.checklist.discard(path)
        waiting, self._waiting_for_ufrag = self._waiting_for_ufrag, []
        return [candidate for candidate in waiting if candidate.ufrag == remote.ufrag]

    def paths_claimed_by_others(self, ufrag: str) -> list[Path]:
        """Pairs that early checks taught us, from somebody who turns out not to be the peer we signal with."""
        return [pair.path for pair in self.checklist if pair.claimed_ufrag not in (None, ufrag)]

    def end_of_candidates(self) -> None:
        self._ended = True

    def admit(self, candidate: Candidate) -> bool:
        """Take a candidate that the peer named, unless it is useless, stale, a duplicate or one too many."""
        if not is_usable_remote(candidate) or self._is_foreign(candidate):
            return False
        key = (candidate.address, candidate.protocol)
        known = self._remote_candidates.get(key)
        if known is not None:
            if known.type == "prflx":
                self._replace_reflexive(key, candidate)
            return False
        if len(self._remote_candidates) - self._peer_reflexive >= self._config.max_remote_candidates:
            return False
        self._remote_candidates[key] = candidate
        return True

    def _is_foreign(self, candidate: Candidate) -> bool:
        """Whether the candidate names another generation. One to come gets it later (RFC 8838 section 10)."""
        ufrag = candidate.ufrag
        if ufrag is None or (self.remote is not None and ufrag == self.remote.ufrag):
            return False
        if len(self._waiting_for_ufrag) < self._config.max_remote_candidates:
            self._waiting_for_ufrag.append(candidate)
        return True

    def inherit(self, older: Generation) -> None:
        """Candidates that the older generation could not place may be ours."""
        self._waiting_for_ufrag = older._waiting_for_ufrag

    def _replace_reflexive(self, key: tuple[Address, str], candidate: Candidate) -> None:
        """Signalling caught up with a check: the address stays, and becomes what the peer calls it."""
        self._remote_candidates[key] = candidate
        self._peer_reflexive -= 1
        for pair in self.checklist:
            if pair.path.remote == candidate.address and pair.path.protocol == candidate.protocol:
                pair.remote = candidate

    def pair_with_remote(self, remote: Candidate, locals_: LocalCandidates, *, controlling: bool) -> None:
        for local in locals_.bases():
            self._form(local, remote, controlling=controlling)

    def pair_with_local(self, local: Candidate, *, controlling: bool) -> None:
        for remote in self._remote_candidates.values():
            self._form(local, remote, controlling=controlling)

    def _form(self, local: Candidate, remote: Candidate, *, controlling: bool) -> None:
        if not is_pairable(local, remote):
            return
        path = Path(local.address, remote.address, local.protocol)
        if local.protocol == "tcp":
            if any(p.path.remote == path.remote and p.path.protocol == "tcp" for p in self.checklist):
                return  # one connection each: which of our addresses it leaves from is for the routing table to say
            state = PairState.DORMANT
        else:
            state = PairState.WAITING
        if self.checklist.get(path) is None:
            self.checklist.add(Pair(local, remote, path, state, controlling=controlling))

    def learn(self, path: Path, local: Candidate, priority: int, *, controlling: bool) -> Pair | None:
        """A check came in on a way that was no pair: make it one, unless there are too many (RFC 8445 7.3.1.3)."""
        key = (path.remote, path.protocol)
        remote = self._remote_candidates.get(key)
        if remote is None:
            if self._peer_reflexive >= self._config.max_peer_reflexive:
                return None
            remote = Candidate.peer_reflexive(path.remote, path.protocol, priority)
        pair = Pair(local, remote, path, PairState.WAITING, controlling=controlling)
        if not self.checklist.add(pair, proven=True):
            return None
        if key not in self._remote_candidates:
            self._remote_candidates[key] = remote
            self._peer_reflexive += 1
        return pair

    def tcp_starts_at(self) -> float | None:
        """When TCP may be tried: at once if there will be nothing else, else after UDP had a chance."""
        since = self.checking_since
        if since is None:
            return None
        if any(pair.path.protocol == "udp" for pair in self.checklist):
            return since + self._config.tcp_delay_s
        return since if self._ended else since + self._config.tcp_grace_s

    def candidate_counts(self) -> tuple[int, int]:
        """How many the peer named, and how many its checks taught us."""
        return len(self._remote_candidates) - self._peer_reflexive, self._peer_reflexive
