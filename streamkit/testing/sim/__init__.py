"""The simulator: the production engine on the embedded cluster, in a world where one seed draws what happens.

`scheduler.py` is time and turns, `network.py` what lies between a process and the cluster, `process.py` a worker process,
`faults.py` which faults there are, `nemesis.py` brings them about, `world.py` is one run, `campaign.py` many of them. A
`Scenario` (`scenario.py`) is the app with its input and its reference; tests/sim has ours, `service.py` makes one of any app.
Needs `greenlet` (the extra `test`). May import everything below testing. Start reading at `world.py`.
"""
