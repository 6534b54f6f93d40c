package ebbtide.rival;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.state.Stores;

/** Run the job until so many events are durable, and report. */
public final class Main {
    private Main() {}

    public static void main(String[] arguments) throws Exception {
        if (arguments.length == 3 && arguments[0].equals("--dump-tokens")) {
            TokenDump.dump(Path.of(arguments[1]), Path.of(arguments[2]));
            return;
        }
        Options options = Options.parse(arguments);
        Path folder = Files.createTempDirectory("rival-kafka-streams-");
        Progress progress = new Progress(options.events());
        try {
            run(options, folder, progress);
        } finally {
            delete(folder);
        }
        System.out.println(progress.report());
        System.exit(0);
    }

    private static void run(Options options, Path folder, Progress progress) throws Exception {
        Model model = new Model(options.model());
        Topology topology = topology(options, model, progress);
        KafkaStreams streams =
                new KafkaStreams(topology, new StreamsConfig(Tuning.of(options, folder)), new Clients(progress));
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            Runtime.getRuntime().halt(1);
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        streams.setStateListener((now, before) -> {
            if (now == KafkaStreams.State.RUNNING && options.ready() != null) {
                touch(options.ready());
            }
        });
        streams.start();
        progress.await();
        streams.close(Duration.ofSeconds(30));
    }

    private static Topology topology(Options options, Model model, Progress progress) {
        ThreadLocal<Scorer> scorers = ThreadLocal.withInitial(() -> new Scorer(model, options.isBatched()));
        Topology topology = new Topology();
        topology.addSource("events", Serdes.ByteArray().deserializer(), Serdes.ByteArray().deserializer(),
                options.input());
        topology.addProcessor("risk", () -> new RiskProcessor(options, scorers, progress), "events");
        topology.addStateStore(UserCache.builder(), "risk");
        topology.addStateStore(
                Stores.keyValueStoreBuilder(
                                Stores.persistentKeyValueStore(RiskProcessor.STORE), Serdes.Bytes(),
                                Serdes.ByteArray())
                        .withCachingDisabled() // UserCache is the cache
                        .withLoggingEnabled(Map.of()),
                "risk");
        topology.addSink("alerts", options.output(), Serdes.ByteArray().serializer(), Serdes.ByteArray().serializer(),
                "risk");
        return topology;
    }

    private static void touch(Path file) {
        try {
            Files.writeString(file, "");
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    private static void delete(Path folder) throws IOException {
        try (Stream<Path> files = Files.walk(folder)) {
            List<Path> inner = files.sorted(Comparator.reverseOrder()).toList();
            for (Path each : inner) {
                Files.deleteIfExists(each);
            }
        }
    }
}
