"""The compaction service: folds the streams of changed boards into PostgreSQL snapshots, and trims them (L6 to L9).

It keeps nothing: any number of workers share the work, and any of them may die at any moment. Start reading at
`compaction.py`, one pass over one board.
"""
