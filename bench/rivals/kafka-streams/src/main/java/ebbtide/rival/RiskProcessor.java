package ebbtide.rival;

import ai.onnxruntime.OrtException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.errors.StreamsException;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.processor.api.RecordMetadata;
import org.apache.kafka.streams.processor.internals.InternalProcessorContext;
import org.apache.kafka.streams.processor.internals.ProcessorNode;
import org.apache.kafka.streams.processor.internals.ProcessorRecordContext;

/** One partition: parse, fold, score, decide; at each event, or in micro-batches. */
final class RiskProcessor implements Processor<byte[], byte[], byte[], byte[]> {
    static final String STORE = "users";
    private static final int MAX_CHANGED_USERS = 10_000; // more are committed early

    private final Options options;
    private final ThreadLocal<Scorer> scorers;
    private final Progress progress;
    private final EventParser parser = new EventParser();
    private final Event event = new Event();
    private final List<Pending> undecided = new ArrayList<>();
    private ProcessorContext<byte[], byte[]> context;
    private ProcessorNode<?, ?, ?, ?> node;
    private UserCache users;
    private Scorer scorer;

    RiskProcessor(Options options, ThreadLocal<Scorer> scorers, Progress progress) {
        this.options = options;
        this.scorers = scorers;
        this.progress = progress;
    }

    @Override
    public void init(ProcessorContext<byte[], byte[]> context) {
        this.context = context;
        node = ((InternalProcessorContext<?, ?>) context).currentNode();
        users = context.getStateStore(UserCache.NAME);
        users.connect(context.getStateStore(STORE), this::beforeCommit);
        undecided.clear();
        context.schedule(Duration.ofMillis(options.batchMs()), PunctuationType.WALL_CLOCK_TIME, now -> punctuate());
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
        if (scorer == null) {
            scorer = scorers.get(); // here and not in init(): this is certainly the thread that will commit
        }
        progress.processed();
        if (record.key() != null && parser.parse(record.value(), event)) {
            Bytes user = Bytes.wrap(record.key());
            UserState state = users.forChange(user);
            if (Fold.fold(state, event)) {
                enqueue(state, record.timestamp());
            }
        }
        if (progress.isDone() || users.changedUsers() >= MAX_CHANGED_USERS) {
            context.commit();
        }
    }

    private void enqueue(UserState state, long timestamp) {
        RecordMetadata source = context.recordMetadata().orElseThrow();
        boolean isPurchase = event.kind == Event.PURCHASE;
        Pending pending = new Pending(state, isPurchase, source.partition(), source.offset(), timestamp);
        undecided.add(pending);
        try {
            scorer.add(pending);
        } catch (OrtException error) {
            throw new StreamsException(error);
        }
        if (undecided.size() >= options.batchEvents()) {
            decide();
        }
    }

    private void punctuate() {
        if (options.batchMs() < options.commitMs()) { // else commits decide: alerts are not seen before them anyway
            decide();
        }
        if (progress.isDone()) {
            context.commit();
        }
    }

    private void decide() {
        if (undecided.isEmpty()) {
            return;
        }
        try {
            scorer.runAll();
        } catch (OrtException error) {
            throw new StreamsException(error);
        }
        for (Pending each : undecided) {
            int tier = AlertPolicy.decide(each);
            if (tier > 0) {
                context.forward(new Record<>(each.state.user.get(), AlertPolicy.alert(each, tier), each.timestamp));
            }
        }
        undecided.clear();
    }

    /** The task is about to commit: nothing that was read may wait any longer, in this thread and within this node. */
    private void beforeCommit() {
        InternalProcessorContext<?, ?> task = (InternalProcessorContext<?, ?>) context;
        ProcessorNode<?, ?, ?, ?> nodeBefore = task.currentNode();
        ProcessorRecordContext recordBefore = task.recordContext();
        task.setCurrentNode(node);
        task.setRecordContext(new ProcessorRecordContext(System.currentTimeMillis(), -1, -1, null, new RecordHeaders()));
        try {
            decide();
            users.writeBack();
        } finally {
            task.setCurrentNode(nodeBefore);
            task.setRecordContext(recordBefore);
        }
    }
}
