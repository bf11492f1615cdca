"""ICE (RFC 8445): finding a way to the peer, and keeping it. Cores only; what follows is for the driver.

**The agent.** One ``Agent`` per peer connection; ``now`` is the same clock for every call. After every call, drain
``datagrams_to_send(now)`` (path and bytes, to leave from the socket at ``path.local``) and ``poll_events()``, and sleep
until ``next_timeout()``.

- Bind one UDP socket per local address (``local_preferences`` ranks them), then
  ``add_local_candidate(Candidate.local_host(address, local_preference=...))``; ``Candidate.tcp_active(ip)`` says that
  TCP may be tried from that address. ``agent.ufrag`` and ``agent.password`` go into the description, candidates as
  ``to_sdp()``, at once or trickled.
- Remote candidates come through ``Candidate.parse(line)`` (``DecodeError``) to ``add_remote_candidate``, before or
  after ``set_remote_parameters``, in any number. Then ``end_of_candidates``.
- ``receive_datagram(data, path, now)`` takes what ``stun.is_stun`` (or a first byte below 4) picks out. Anything else
  on a path is for the layers above only if ``is_authenticated(path)``.
- ``note_activity(now)`` when something that the layers above proved authentic arrived on the selected path: it spares
  checks and keeps ``DISCONNECTED`` away. Nothing else may call it, or spoofed packets would hide an outage.
- Send on ``selected_path``, which may change at any time (``PathSelected``), and be None: before the first choice,
  after the connection under it broke, and when consent ran out. ``PathSuspected`` says that it may be dead;
  ``PathRecovered`` and a later ``PathSelected`` are the moments to retransmit. ``StateChanged`` tells of DISCONNECTED,
  CONNECTED and FAILED.
- ``TcpConnectNeeded(remote)``: connect, then ``tcp_connected(path, now)`` with the real local address (close it if
  that says False), or ``tcp_failed(remote, now)``. Frame everything with ``framing.frame`` and ``StreamFramer``. When
  the connection ends: ``path_lost(path, now)``. One that is not selected may be closed after some time.
- A network change: ``add_local_candidate`` for what is new, ``remove_local_candidate`` for what is gone.
- ``restart(now)`` for an ICE restart of either side, before the new description goes out; then
  ``set_remote_parameters`` with the peer's new credentials. Until then everything goes on as it was, and the old path
  carries data until a new one is selected. It is the way out of FAILED, too. ``close()`` ends everything.

**A relay.** ``TurnClient`` makes an address on a server: ``start``; on ``TurnAllocated`` add
``Candidate.relayed(relayed, mapped, server)``. From then on a path whose ``local`` is the relayed address goes through
``wrap(path.remote, data, now)``, whose result, unless empty, is sent to the server; and what the server sends goes to
``receive``, which returns ``(peer, data)`` for ``Path(relayed, peer, "udp")``. Control messages leave by
``datagrams_to_send``. ``permit`` the addresses of remote candidates as they come, to save a round trip. On
``TurnFailed``, ``remove_local_candidate(relayed)``; on ``TurnRedirected`` make one more client with
``may_redirect=False``; ``close(now)`` at the end, and send what it leaves.

**A reflexive address.** ``StunProbe`` asks one server from one base; offer its answers to it before the agent.
"""

from __future__ import annotations

__all__ = [
    "Agent",
    "Candidate",
    "Config",
    "Event",
    "Path",
    "PathRecovered",
    "PathSelected",
    "PathSuspected",
    "State",
    "StateChanged",
    "Statistics",
    "StreamFramer",
    "StunProbe",
    "TcpConnectNeeded",
    "TurnAllocated",
    "TurnClient",
    "TurnEvent",
    "TurnFailed",
    "TurnRedirected",
    "local_preferences",
]

from .agent import Agent
from .candidate import Candidate, local_preferences
from .config import Config
from .counters import Statistics
from .events import Event, Path, PathRecovered, PathSelected, PathSuspected, State, StateChanged, TcpConnectNeeded
from .framing import StreamFramer
from .probe import StunProbe
from .turn import TurnClient
from .turn_events import TurnAllocated, TurnEvent, TurnFailed, TurnRedirected
