"""The client side of the embedded cluster: what librdkafka is on a real one.

`link.py` is the only way to the broker side, `consumer.py`, `reader.py`, `producer.py` and `admin.py` implement the protocols of
`kafka/client.py`, `classify.py` says which of the engine's errors a broker's error becomes. Start reading at `link.py`.
"""
