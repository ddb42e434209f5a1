"""The only door to Kafka: consumer, reader, producer and admin behind small protocols.

`client.py` has the protocols and the values that cross them; `confluent/` implements them with librdkafka (nothing else
in streamkit imports `confluent_kafka`), `memory/` with an in-process cluster. tests/conformance holds both to one behaviour.
May import: errors, config, record, clock, instrument. Start reading at `client.py`.
"""
