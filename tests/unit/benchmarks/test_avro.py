"""The benchmark of Avro measures what it says: contestants that do the same work."""

from benchmarks import avro


def test_a_small_run_gives_every_figure():
    found = avro.measure(records=300, rounds=1)
    assert set(found["app"]) == {"JSON", "Avro rows", "Avro columns"}
    assert set(found["decode"]) == {*found["app"], "touch", "polars", "fastavro", "msgspec"}
    assert all(rate > 0 for by in found.values() for rate in by.values())


def test_only_one_of_them_reads_blocks():
    assert hasattr(avro.SERDES["Avro columns"], "columns_decoder")
    assert not hasattr(avro.SERDES["Avro rows"], "columns_decoder")
    values = avro.payloads(3, 2)
    rows = [avro.SERDES[name].decoder()(value) for name in avro.SERDES for value in values[name]]
    assert rows[:3] == rows[3:6] == rows[6:]
