"""The admin client over a scripted librdkafka: what a cluster of several brokers may answer, one after the other."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace

import confluent_kafka as ck

from streamkit.kafka.client import NewTopic
from streamkit.kafka.confluent.admin import ClusterAdmin
from streamkit.kafka.confluent.settings import ConnectionSettings


def answered(result=None, error: int | None = None) -> Future:
    future: Future = Future()
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(ck.KafkaException(ck.KafkaError(error)))
    return future


class Brokers:
    """Each describe_topics goes to the next broker; `knows` says which of them has heard of the topic."""

    def __init__(self, *knows: bool) -> None:
        self.knows = list(knows)

    def create_topics(self, topics, **_):
        return {topic.topic: answered() for topic in topics}

    def delete_topics(self, names, **_):
        return {name: answered() for name in names}

    def list_topics(self, **_):
        partition = SimpleNamespace(leader=1)
        topic = SimpleNamespace(error=None, partitions={0: partition})
        return SimpleNamespace(topics={"bids": topic})

    def describe_topics(self, *_, **__):
        if self.knows.pop(0):
            return {"bids": answered(SimpleNamespace(partitions=[0], topic_id="id"))}
        return {"bids": answered(error=ck.KafkaError.UNKNOWN_TOPIC_OR_PART)}

    def describe_configs(self, resources, **_):
        return {resource: answered({}) for resource in resources}

    def poll(self, _):
        return 0


def admin_over(brokers: Brokers) -> ClusterAdmin:
    admin = ClusterAdmin(ConnectionSettings("127.0.0.1:1"))
    admin._admin = brokers
    return admin


def test_a_new_topic_is_asked_for_until_the_last_broker_has_heard_of_it():
    brokers = Brokers(False, False, True)
    admin = admin_over(brokers)
    admin.create_topics([NewTopic("bids", 1)], 5)
    found = admin.describe_topics(["bids"], 5)["bids"]
    assert found is not None
    assert found.partitions == 1
    assert brokers.knows == []


def test_a_topic_that_nobody_made_is_asked_for_once():
    brokers = Brokers(False, True)
    assert admin_over(brokers).describe_topics(["bids"], 5) == {"bids": None}
    assert brokers.knows == [True]


def test_a_new_topic_that_never_appears_is_absent_at_the_deadline():
    admin = admin_over(Brokers(*[False] * 100))
    admin.create_topics([NewTopic("bids", 1)], 5)
    assert admin.describe_topics(["bids"], 0.1) == {"bids": None}


def test_a_topic_that_was_deleted_again_is_asked_for_once():
    brokers = Brokers(False, True)
    admin = admin_over(brokers)
    admin.create_topics([NewTopic("bids", 1)], 5)
    brokers.list_topics = lambda **_: SimpleNamespace(topics={})
    admin.delete_topics(["bids"], 5)
    assert admin.describe_topics(["bids"], 5) == {"bids": None}
