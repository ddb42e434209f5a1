"""The simulated scenarios, their campaign (`python -m tests.sim`), pinned runs in seeds/, mutants of the rules in mutants/."""
