"""The kernel: what a board's log is, where it is kept, and who may read or append.

Imported by every service, imports none of them. Start reading at `log.py`, the one door to a board.
"""
