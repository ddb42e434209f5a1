#!/bin/bash
# Class data archives of the set-up and of a broker that has served a topic: they halve the time to a ready broker.
set -eu
cd /opt/kafka
export CLUSTER_ID=5L6g3nShT-eMCtK--X86sw
quick="-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xlog:cds=error -Xlog:cds+dynamic=error"
# shellcheck disable=SC2086 # a list of options
java $quick -XX:ArchiveClassesAtExit=setup.jsa -Dlog4j2.configurationFile=/etc/kafka/docker/tools-log4j2.yaml -cp "$(cat classpath)" \
  kafka.docker.KafkaDockerWrapper setup --default-configs-dir /etc/kafka/docker --mounted-configs-dir /mnt/shared/config \
  --final-configs-dir config
KAFKA_JVM_PERFORMANCE_OPTS="$quick -XX:ArchiveClassesAtExit=broker.jsa" bin/kafka-server-start.sh config/server.properties >/tmp/broker.log 2>&1 &
broker=$!
bin/kafka-topics.sh --bootstrap-server localhost:9092 --create --topic t >/dev/null
echo one | bin/kafka-console-producer.sh --bootstrap-server localhost:9092 --topic t
bin/kafka-console-consumer.sh --bootstrap-server localhost:9092 --topic t --from-beginning --max-messages 1 --timeout-ms 20000 >/dev/null
kill -TERM "$broker"
wait "$broker" || true
rm -rf /tmp/kraft-combined-logs /tmp/broker.log logs config/*
