"""Testing for users: `driver.py` runs an app on the embedded broker, synchronously and with a manual clock.

May import: everything below, app included. Start reading at `driver.py`.
"""
