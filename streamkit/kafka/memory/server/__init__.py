"""The broker side of the embedded cluster: what a Kafka broker keeps, and one file per request that it answers.

`log.py` is a partition's log, `topic.py` a topic with its configuration, `group.py` a group (`classic_group.py`,
`consumer_group.py`, `offsets.py`), `transaction.py` the transaction coordinator, `broker.py` joins them; `requests/` changes
them, `timers.py` does what is due. Nothing here knows the client side. Start reading at `broker.py`.
"""
