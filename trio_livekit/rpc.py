"""Remote procedure calls: call a method of another participant, and serve methods that others call.

Serving is a block. ``async with room.register_rpc_method("move", handler)`` serves a method for as long as it lasts,
and each call of it runs in a task of its own; ``await room.perform_rpc(...)`` calls, and returns the result or raises
``RpcError``.
"""

from __future__ import annotations

__all__ = ["RpcHandler", "RpcInvocation"]

from ._session.serving import RpcHandler, RpcInvocation
