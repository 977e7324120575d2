"""The relay: a stateless WebSocket node. Any node serves any board; start reading at `endpoints.py`."""
