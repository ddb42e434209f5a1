"""Decisions apart from effects: each function takes facts and returns a named decision; callers do the I/O.

`start.py` where a partition starts, `control.py` when a task tells its time downstream, `topics.py` whether a topic fits.
May import: errors and values only. Start reading at `start.py`.
"""
