import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.ConsumerInterceptor;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Suppressed;
import org.apache.kafka.streams.kstream.Suppressed.BufferConfig;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.state.Stores;

/** Kafka Streams as a contestant: takes a job as JSON, tells its figures as one line of JSON. Settings: see README.md. */
public final class Contestant {
    static final long SIZE_MS = 10_000, GRACE_MS = 1_000, KEPT_FROM = 9_010_000;

    /** The moments that a stopwatch of the suite knows. */
    static volatile long firstNanos, firstMillis;

    record Bid(long auction, long bidder, long price, long dateTime) {}

    record Figures(long count, long total, long highest) {
        Figures plus(long price) {
            return new Figures(count + 1, total + price, Math.max(highest, price));
        }
    }

    public static void main(String[] arguments) throws Exception {
        JsonNode job = new ObjectMapper().readTree(arguments[0]);
        String source = job.get("source").asText(), sink = job.get("sink").asText(), name = job.get("app").asText();
        int partitions = job.get("partitions").asInt();
        long records = job.get("records").asLong();
        Path directory = Files.createTempDirectory("streamkit-bench-");
        StreamsBuilder builder = new StreamsBuilder();
        KStream<Long, Bid> bids = builder.stream(
            source, Consumed.with(textLong(), bid()).withTimestampExtractor((record, before) -> ((Bid) record.value()).dateTime()));
        switch (job.get("pipeline").asText()) {
            case "tumbling" -> tumbling(bids, sink);
            case "stateless" -> stateless(bids, sink);
            default -> throw new IllegalArgumentException("no such pipeline: " + job.get("pipeline"));
        }
        Properties settings = settings(name, job.get("bootstrap").asText(), directory, partitions);
        KafkaStreams streams = new KafkaStreams(builder.build(settings), settings);
        AtomicReference<Throwable> failure = new AtomicReference<>();
        streams.setUncaughtExceptionHandler(error -> {
            failure.set(error);
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        double begunCpu = cpuSeconds();
        streams.start();
        awaitEnd(job.get("bootstrap").asText(), name, source, partitions, records, failure);
        long end = System.nanoTime();
        double endCpu = cpuSeconds();
        streams.close(Duration.ofSeconds(20));
        try (var left = Files.walk(directory)) {
            left.sorted(java.util.Comparator.reverseOrder()).forEach(path -> path.toFile().delete());
        }
        System.out.printf(
            java.util.Locale.ROOT,
            "{\"records\":%d,\"first_at\":%.3f,\"wall_s\":%.4f,\"cpu_s\":%.4f,\"start_cpu_s\":%.4f,\"peak_mb\":%d}%n",
            records, firstMillis / 1000.0, (end - firstNanos) / 1e9, endCpu - begunCpu, begunCpu, peakMb());
        System.exit(0);
    }

    static void tumbling(KStream<Long, Bid> bids, String sink) {
        TimeWindows windows = TimeWindows.ofSizeAndGrace(Duration.ofMillis(SIZE_MS), Duration.ofMillis(GRACE_MS));
        bids.groupByKey(Grouped.with(Serdes.Long(), bid()))
            .windowedBy(windows)
            .aggregate(
                () -> new Figures(0, 0, Long.MIN_VALUE),
                (key, bid, figures) -> figures.plus(bid.price()),
                Materialized.<Long, Figures>as(Stores.inMemoryWindowStore(
                        "per-auction", Duration.ofMillis(SIZE_MS + GRACE_MS), Duration.ofMillis(SIZE_MS), false))
                    .withKeySerde(Serdes.Long()).withValueSerde(figures()).withCachingEnabled())
            .suppress(Suppressed.untilWindowCloses(BufferConfig.unbounded()))
            .toStream((window, figures) -> window)
            .map((window, figures) -> KeyValue.pair(window.key(), line(window.key(), window.window().start(), figures)))
            .to(sink, Produced.with(textLong(), Serdes.ByteArray()));
    }

    static void stateless(KStream<Long, Bid> bids, String sink) {
        bids.filter((key, bid) -> bid.price() >= KEPT_FROM)
            .mapValues(bid -> text("{\"auction\":" + bid.auction() + ",\"bidder\":" + bid.bidder() + ",\"price\":" + bid.price() + "}"))
            .to(sink, Produced.with(textLong(), Serdes.ByteArray()));
    }

    static byte[] line(long key, long start, Figures figures) {
        return text("{\"key\":" + key + ",\"window_start\":\"" + Instant.ofEpochMilli(start) + "\",\"window_end\":\""
            + Instant.ofEpochMilli(start + SIZE_MS) + "\",\"count\":" + figures.count() + ",\"total\":" + figures.total()
            + ",\"highest\":" + figures.highest() + "}");
    }

    static Properties settings(String name, String bootstrap, Path directory, int partitions) {
        Properties settings = new Properties();
        settings.putAll(Map.ofEntries(
            Map.entry("application.id", name),
            Map.entry("bootstrap.servers", bootstrap),
            Map.entry("state.dir", directory.toString()),
            Map.entry("processing.guarantee", "exactly_once_v2"),
            Map.entry("commit.interval.ms", "100"),
            Map.entry("num.stream.threads", String.valueOf(Math.min(partitions, Runtime.getRuntime().availableProcessors()))),
            Map.entry("topology.optimization", "all"),
            Map.entry("statestore.cache.max.bytes", String.valueOf(64 << 20)),
            Map.entry("buffered.records.per.partition", "10000"),
            Map.entry("main.consumer.auto.offset.reset", "earliest"),
            Map.entry("main.consumer.max.poll.records", "5000"),
            Map.entry("main.consumer.max.partition.fetch.bytes", String.valueOf(4 << 20)),
            Map.entry("main.consumer.interceptor.classes", First.class.getName()),
            Map.entry("producer.compression.type", "lz4"),
            Map.entry("producer.batch.size", String.valueOf(256 << 10)),
            Map.entry("producer.buffer.memory", String.valueOf(128 << 20))));
        return settings;
    }

    /** Returns when the offsets of all records are committed, which they are in the transactions of the results. */
    static void awaitEnd(
            String bootstrap, String group, String source, int partitions, long records, AtomicReference<Throwable> failure)
            throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            while (true) {
                if (failure.get() != null) {
                    throw new IllegalStateException("a stream thread failed", failure.get());
                }
                Map<TopicPartition, OffsetAndMetadata> committed =
                    admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
                long done = 0;
                for (var each : committed.entrySet()) {
                    done += each.getValue() != null && each.getKey().topic().equals(source) ? each.getValue().offset() : 0;
                }
                if (done >= records) {
                    return;
                }
                Thread.sleep(20);
            }
        }
    }

    /** Looks at the clock once: at the first records that the consumer gives. */
    public static final class First implements ConsumerInterceptor<byte[], byte[]> {
        @Override public ConsumerRecords<byte[], byte[]> onConsume(ConsumerRecords<byte[], byte[]> records) {
            if (firstNanos == 0 && !records.isEmpty()) {
                firstMillis = System.currentTimeMillis();
                firstNanos = System.nanoTime();
            }
            return records;
        }

        @Override public void onCommit(Map<TopicPartition, OffsetAndMetadata> offsets) {}

        @Override public void close() {}

        @Override public void configure(Map<String, ?> settings) {}
    }

    static Serde<Long> textLong() {
        return Serdes.serdeFrom(
            (topic, key) -> key == null ? null : text(Long.toString(key)),
            (topic, bytes) -> bytes == null ? null : Long.parseLong(new String(bytes, StandardCharsets.ISO_8859_1)));
    }

    static Serde<Figures> figures() {
        return Serdes.serdeFrom(
            (topic, figures) -> figures == null ? null : ByteBuffer.allocate(24)
                .putLong(figures.count()).putLong(figures.total()).putLong(figures.highest()).array(),
            (topic, bytes) -> {
                if (bytes == null) {
                    return null;
                }
                ByteBuffer buffer = ByteBuffer.wrap(bytes);
                return new Figures(buffer.getLong(), buffer.getLong(), buffer.getLong());
            });
    }

    /** Jackson's streaming parser, and only the fields that are used: its quickest way. */
    static Serde<Bid> bid() {
        JsonFactory json = new JsonFactory();
        return Serdes.serdeFrom(
            (topic, bid) -> {
                throw new UnsupportedOperationException("bids are only read");
            },
            (topic, bytes) -> {
                long auction = 0, bidder = 0, price = 0, dateTime = 0;
                try (JsonParser parser = json.createParser(bytes)) {
                    parser.nextToken();
                    while (parser.nextToken() == JsonToken.FIELD_NAME) {
                        String field = parser.currentName();
                        parser.nextToken();
                        switch (field) {
                            case "auction" -> auction = parser.getLongValue();
                            case "bidder" -> bidder = parser.getLongValue();
                            case "price" -> price = parser.getLongValue();
                            case "dateTime" -> dateTime = parser.getLongValue();
                            default -> parser.skipChildren();
                        }
                    }
                } catch (IOException error) {
                    throw new UncheckedIOException(error);
                }
                return new Bid(auction, bidder, price, dateTime);
            });
    }

    static byte[] text(String text) {
        return text.getBytes(StandardCharsets.ISO_8859_1);
    }

    static double cpuSeconds() {
        var system = (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        return system.getProcessCpuTime() / 1e9;
    }

    static long peakMb() throws IOException {
        Path status = Path.of("/proc/self/status");
        if (!Files.exists(status)) {
            return Runtime.getRuntime().totalMemory() >> 20;
        }
        for (String line : Files.readAllLines(status)) {
            if (line.startsWith("VmHWM:")) {
                return Long.parseLong(line.replaceAll("\\D", "")) / 1024;
            }
        }
        return 0;
    }

    private Contestant() {}
}
