"""Where a plan is cut, in which order its parts stand, and which plans cannot run."""

from __future__ import annotations

import pytest

import streamkit as sk
from streamkit.errors import DeclarationError, NameCollisionError
from streamkit.eventtime.generators import MOST_STATE
from streamkit.plan.nodes import ByRecordKey, Filter, KeyBy, Merge, OnClose, Sink, Source, WindowAggregate
from streamkit.plan.topology import STORE_NAMES_BYTES, Plan, cut
from streamkit.runtime.metadata import OffsetMetadata


def out(name="out"):
    return sk.Topic(name)


def stream(app, name="orders"):
    return app.stream(sk.Topic(name))


@pytest.fixture
def app():
    return sk.App("shop")


def names(app):
    return [part.name for part in app.topology().parts]


def kinds(part):
    return [type(node) for node in part.nodes]


def test_without_a_key_there_is_one_part(app):
    stream(app).filter(bool).to(out())
    (part,) = app.topology().parts
    assert (part.name, part.reads, part.writes, part.stores) == ("orders", (), (), ())
    assert kinds(part) == [Source, Filter, Sink]


def test_a_new_key_cuts_and_the_repartition_belongs_to_its_writer(app):
    stream(app).key_by("shop").window(sk.tumbling("1m")).aggregate("kpis", n=sk.count()).on_close().to(out())
    topology = app.topology()
    writer, reader = topology.parts
    assert (writer.name, reader.name) == ("orders", "orders-by-shop")
    assert kinds(writer) == [Source, KeyBy]
    assert kinds(reader) == [WindowAggregate, OnClose, Sink]
    (repartition,) = writer.writes
    assert reader.reads == (repartition,)
    assert topology.writer_of(repartition) is writer
    assert topology.reader_of(repartition) is reader
    assert [store.name for store in reader.stores] == ["kpis"]


def test_the_records_own_key_does_not_cut(app):
    totals = stream(app).by_record_key().window(sk.tumbling("1m")).aggregate("totals", n=sk.count())
    totals.on_close().by_record_key().window(sk.tumbling("1h")).aggregate("hourly", n=sk.count()).on_close().to(out())
    (part,) = app.topology().parts
    assert [store.name for store in part.stores] == ["totals", "hourly"]
    assert kinds(part).count(ByRecordKey) == 2


def test_chained_windows_over_other_keys_are_three_parts_upstream_first(app):
    per_shop = stream(app).key_by("shop").window(sk.tumbling("1m")).aggregate("per-shop", n=sk.count())
    per_shop.on_close().globally().window(sk.tumbling("1m")).aggregate("all", n=sk.sum("n")).on_close().to(out())
    assert names(app) == ["orders", "orders-by-shop", "per-shop-globally"]


def test_all_that_is_behind_one_repartition_is_one_part(app):
    by_shop = stream(app).key_by("shop")
    by_shop.window(sk.tumbling("1m")).aggregate("minutes", n=sk.count()).on_close().to(out("a"))
    by_shop.window(sk.tumbling("1h")).aggregate("hours", n=sk.count()).on_close().to(out("b"))
    parts = app.topology().parts
    assert [part.name for part in parts] == ["orders", "orders-by-shop"]
    assert [store.name for store in parts[1].stores] == ["minutes", "hours"]
    assert [sink.topic.name for sink in parts[1].sinks] == ["a", "b"]


def test_the_same_key_by_written_twice_is_one_topic(app):
    orders = stream(app)
    orders.key_by("shop").window(sk.tumbling("1m")).aggregate("minutes", n=sk.count()).on_close().to(out("a"))
    orders.key_by("shop").window(sk.tumbling("1h")).aggregate("hours", n=sk.count()).on_close().to(out("b"))
    assert [len(part.writes) for part in app.topology().parts] == [1, 0]


def test_uses_of_one_topic_are_one_part(app):
    stream(app).filter(bool).to(out("a"))
    stream(app).to(out("b"))
    (part,) = app.topology().parts
    assert len(part.sources) == 1
    assert [sink.topic.name for sink in part.sinks] == ["a", "b"]


def test_independent_topics_are_parts_of_their_own(app):
    stream(app, "a").to(out("x"))
    stream(app, "b").to(out("y"))
    assert names(app) == ["a", "b"]


def test_merged_topics_are_one_part_named_after_both(app):
    stream(app, "web").merge(stream(app, "shops")).to(out())
    (part,) = app.topology().parts
    assert part.name == "shops+web"
    assert kinds(part) == [Source, Source, Merge, Sink]


def test_several_topics_in_one_stream_are_merged(app):
    app.stream(sk.Topic("web"), sk.Topic("shops")).key_by("shop").to(out())
    assert names(app) == ["shops+web", "web-shops-by-shop"]


def test_a_part_with_a_topic_and_a_repartition_is_named_after_the_repartition(app):
    stream(app, "a").key_by("k").merge(stream(app, "b")).by_record_key().to(out())
    assert names(app) == ["a", "a-by-k"]


def test_the_name_of_a_part_does_not_depend_on_the_order_of_declaration():
    def declared(first, second):
        app = sk.App("shop")
        streams = {name: stream(app, name).key_by("k") for name in (first, second)}
        streams[first].merge(streams[second]).to(out())
        return {part.name for part in app.topology().parts}

    assert declared("a", "b") == declared("b", "a") == {"a", "b", "a-by-k"}


def test_what_leads_to_no_sink_is_left_out(app):
    orders = stream(app)
    orders.key_by("shop").window(sk.tumbling("1m")).aggregate("unused", n=sk.count())
    orders.to(out())
    (part,) = app.topology().parts
    assert part.writes == ()


def test_a_topic_that_is_written_may_be_read_again(app):
    stream(app, "a").to(out("b"))
    stream(app, "b").to(out("c"))
    assert names(app) == ["a", "b"]


def test_a_long_pipeline_is_cut(app):
    steps = stream(app)
    for _ in range(300):
        steps = steps.filter(bool)
    steps.to(out())
    assert len(app.topology().parts[0].nodes) == 302


def test_an_app_without_sinks_is_refused(app):
    stream(app)
    with pytest.raises(DeclarationError, match=r"app 'shop' has no sinks.*\.to\("):
        app.topology()
    with pytest.raises(DeclarationError, match="no sinks"):
        cut(Plan("shop", ()))


def test_a_stream_merged_with_what_it_was_keyed_to_would_wait_for_itself(app):
    orders = stream(app)
    orders.key_by("shop").merge(orders).to(out())
    with pytest.raises(
        DeclarationError, match=r"'orders-by-shop' would wait for its own results \(orders-by-shop <- orders-by-shop\)"
    ):
        app.topology()


def test_two_parts_that_wait_for_each_other_are_refused(app):
    a, b = stream(app, "a"), stream(app, "b")
    a_and_by_b = a.merge(b.key_by("k"))
    b_and_by_a = b.merge(a.key_by("k"))
    a_and_by_b.to(out("x"))
    b_and_by_a.to(out("y"))
    with pytest.raises(DeclarationError, match=r"a-by-k.*b-by-k|b-by-k.*a-by-k"):
        app.topology()


def test_one_group_for_all_does_not_merge_with_many(app):
    stream(app, "a").globally().merge(stream(app, "b").key_by("k")).to(out())  # type: ignore[arg-type]
    with pytest.raises(DeclarationError, match=r"merges globally\(\) \('a-globally', one partition\) with key_by\(\) \('b-by-k'"):
        app.topology()


def windows(app, number, length):
    """An app of so many aggregates with names of so many letters."""
    rows = stream(app).by_record_key().window(sk.tumbling("1m"))
    for each in range(number):
        rows.aggregate(f"a{each:03}".ljust(length, "x"), n=sk.count()).on_close().to(out())


def test_no_more_aggregates_than_can_be_committed(app):
    """Their names are in the metadata of committed offsets: that they are too many must not turn out at the first commit."""
    windows(app, 120, 30)
    with pytest.raises(DeclarationError, match=r"'orders' has 120 aggregates, whose names make 3,719 characters; at most 3,600 "):
        app.topology()
    one_by_one = sk.App("shop")
    windows(one_by_one, 116, 30)
    (part,) = one_by_one.topology().parts
    longest = OffsetMetadata(
        -(2**63), 2**64, True, 2**64, 2**64, tuple(store.name for store in part.stores), (-(2**63),) * (MOST_STATE + 2)
    ).encode()  # fmt: skip
    assert len(longest.encode()) + STORE_NAMES_BYTES - len(",".join(store.name for store in part.stores)) <= 4_096


def test_a_topic_with_the_name_of_a_repartition_is_refused(app):
    stream(app, "orders").key_by("shop").to(out("x"))
    stream(app, "orders-by-shop").to(out("y"))
    with pytest.raises(NameCollisionError, match=r"both called 'orders-by-shop'.*name="):
        app.topology()
