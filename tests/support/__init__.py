"""What the tests stand on: a real Kafka, found or started.

Start reading in `broker.py`, which knows the three ways to a broker; `container.py` and `local_kafka.py` start one;
`jvm.py` gets Java and Kafka's jars; `watchdog.py` sees to it that nothing outlives a killed test run.
"""
