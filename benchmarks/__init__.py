"""Benchmarks: streamkit beside other ways to do the same work, on one real Kafka in one run.

Read README.md, then `quick.py`. `bids.py` is the workload and what it must give, `job.py` what a contestant is told and tells,
`contestants/` has one module for each of them.
"""
