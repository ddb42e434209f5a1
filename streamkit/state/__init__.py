"""Keyed state of one operator in one task, and how it looks in its changelog.

`window_store.py` has the open windows of an aggregation: panes over flat numpy accumulators. `key_index.py` maps keys to slots,
`accumulators.py` says what an aggregate function keeps and how it is updated, `blocks.py` and `time_record.py` are the
changelog's format, `changelog.py` decides which blocks to write and which to drop. May import: errors, config, record.
Start reading at `window_store.py`.
"""
