"""WebSocket frames as clients send them: masked, and well-formed or not."""

import struct


def client_frame(
    payload: bytes,
    *,
    opcode: int = 2,
    final: bool = True,
    bits: int = 0,
    key: bytes | None = bytes(4),
    claim: int = -1,
) -> bytes:
    """Return a frame; `claim` is the length that it says it has, `key` what it is masked with, None for not at all."""
    size = len(payload) if claim < 0 else claim
    head = bytes([0x80 * final | bits | opcode])
    mask = 0x80 * (key is not None)
    if size < 126:
        head += bytes([mask | size])
    elif size < 65536:
        head += bytes([mask | 126]) + struct.pack(">H", size)
    else:
        head += bytes([mask | 127]) + struct.pack(">Q", size)
    if key is None:
        return head + payload
    masked = payload if not any(key) else bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))
    return head + key + masked
