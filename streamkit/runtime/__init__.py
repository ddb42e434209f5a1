"""The engine: tasks, the worker that steps them, transactions, restore, topics, and what is done with bad records.

`worker.py` is the loop, one bounded `step()` at a time; `task.py` one sub-topology x partition; `takeover.py` makes and restores
tasks, `commit.py` commits them; `transaction.py` owns the producer; `topics.py` checks and creates topics at start; `service.py`
runs a worker in a process. `decide/` is pure: facts in, a named decision out. May import: everything below. Start reading at
`worker.py`.
"""
