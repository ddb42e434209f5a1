"""One module for each contestant, run in a process of its own: `python -m benchmarks.contestants.<name> <job as JSON>`."""
