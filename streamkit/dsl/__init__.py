"""What users write: streams, keys, windows and aggregators. Every call adds a node to a plan; nothing touches Kafka.

`stream.py` has the streams, `windowed.py` windows and aggregates over them, `aggregators.py` sum, count and the like,
`declarations.py` what an app has declared so far (sinks, names and where they were given), `fit.py` whether rows fit a model.
May import: plan and everything below. Start reading at `stream.py`.
"""
