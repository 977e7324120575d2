"""The bridge: agents publish items over REST, straight into a board's log. Start reading at `endpoints.py`."""
