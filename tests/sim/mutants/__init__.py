"""The engine with one rule of exactly-once broken, for each rule: the simulator must catch every one of them.

`mutant.py` says what a mutant is and runs it, the other modules hold them by subject. `python -m tests.sim.mutants` prints the
table.
"""
