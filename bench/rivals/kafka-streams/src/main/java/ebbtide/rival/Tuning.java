package ebbtide.rival;

import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.streams.StreamsConfig;

/** Settings of Kafka Streams and its clients; README.md says what each has bought. */
final class Tuning {
    private static final int KIB = 1024, MIB = 1024 * 1024;

    private Tuning() {}

    static Map<String, Object> of(Options options, Path folder) {
        Map<String, Object> config = new HashMap<>();
        config.put(StreamsConfig.APPLICATION_ID_CONFIG, options.group());
        config.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, options.bootstrap());
        config.put(StreamsConfig.STATE_DIR_CONFIG, folder.toString());
        config.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, options.threads());
        config.put(
                StreamsConfig.PROCESSING_GUARANTEE_CONFIG,
                options.isExactlyOnce() ? StreamsConfig.EXACTLY_ONCE_V2 : StreamsConfig.AT_LEAST_ONCE);
        config.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, options.commitMs());
        config.put(StreamsConfig.ROCKSDB_CONFIG_SETTER_CLASS_CONFIG, RocksTuning.class);
        config.put(StreamsConfig.BUFFERED_RECORDS_PER_PARTITION_CONFIG, 4000);
        config.put(StreamsConfig.METADATA_MAX_AGE_CONFIG, 300_000);
        consumer(config, options);
        producer(config, options);
        return config;
    }

    private static void consumer(Map<String, Object> config, Options options) {
        put(config, true, ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        put(config, true, ConsumerConfig.MAX_POLL_RECORDS_CONFIG, 4000);
        put(config, true, ConsumerConfig.MAX_PARTITION_FETCH_BYTES_CONFIG, 2 * MIB);
        put(config, true, ConsumerConfig.FETCH_MAX_BYTES_CONFIG, 8 * MIB);
        put(config, true, ConsumerConfig.RECEIVE_BUFFER_CONFIG, MIB);
        put(config, true, ConsumerConfig.CHECK_CRCS_CONFIG, false); // TCP and the broker check as well
    }

    private static void producer(Map<String, Object> config, Options options) {
        put(config, false, ProducerConfig.COMPRESSION_TYPE_CONFIG, options.compression());
        put(config, false, ProducerConfig.BATCH_SIZE_CONFIG, 256 * KIB);
        put(config, false, ProducerConfig.LINGER_MS_CONFIG, options.isExactlyOnce() ? 100 : 5); // commits do not wait for it
        put(config, false, ProducerConfig.BUFFER_MEMORY_CONFIG, 64L * MIB);
        put(config, false, ProducerConfig.SEND_BUFFER_CONFIG, MIB);
    }

    private static void put(Map<String, Object> config, boolean isConsumer, String name, Object value) {
        config.put(isConsumer ? StreamsConfig.mainConsumerPrefix(name) : StreamsConfig.producerPrefix(name), value);
    }
}
