"""Testing for users: `driver.py` runs an app on the embedded broker, synchronously and with a manual clock.

`checker/` holds the invariants of exactly-once as functions over records, `sim/` the simulated world behind `streamkit sim`.
`containers/` runs a whole service against a real Kafka; `plugin.py` has fixtures of it for pytest. May import: everything
below, app included. Start reading at `driver.py`.
"""
