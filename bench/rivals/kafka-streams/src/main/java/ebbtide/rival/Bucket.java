package ebbtide.rival;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.LongBuffer;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;

/** Histories of at most `length` days, side by side in the memory that the network reads. */
final class Bucket {
    final int length;
    final int capacity;
    int rows;
    private final Model model;
    private final Pending[] pending;
    private final FloatBuffer tokens;
    private final LongBuffer lengths;
    private final FloatBuffer hazards;
    private final List<Map<String, OnnxTensor>> inputsOfRows; // made once for each number of rows, over the same memory
    private final List<Map<String, OnnxTensor>> outputsOfRows;

    Bucket(Model model, int length, int capacity) {
        this.model = model;
        this.length = length;
        this.capacity = capacity;
        pending = new Pending[capacity];
        tokens = direct(capacity * length * Tokens.SIZE * Float.BYTES).asFloatBuffer();
        lengths = direct(capacity * Long.BYTES).asLongBuffer();
        hazards = direct(capacity * model.hazardsOfRow() * Float.BYTES).asFloatBuffer();
        inputsOfRows = new ArrayList<>(Collections.nCopies(capacity + 1, null));
        outputsOfRows = new ArrayList<>(Collections.nCopies(capacity + 1, null));
    }

    private static ByteBuffer direct(int bytes) {
        return ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder());
    }

    void add(Pending event) {
        int days = event.state.days, from = rows * length * Tokens.SIZE;
        tokens.put(from, event.state.tokens, 0, days * Tokens.SIZE);
        for (int at = from + days * Tokens.SIZE; at < from + length * Tokens.SIZE; at++) {
            tokens.put(at, 0f);
        }
        lengths.put(rows, days);
        pending[rows++] = event;
    }

    /** All rows go to a bucket of longer histories, which has room for them. */
    void moveTo(Bucket longer) {
        for (int row = 0; row < rows; row++) {
            int from = row * length * Tokens.SIZE, to = longer.rows * longer.length * Tokens.SIZE;
            longer.tokens.put(to, tokens, from, length * Tokens.SIZE);
            for (int at = to + length * Tokens.SIZE; at < to + longer.length * Tokens.SIZE; at++) {
                longer.tokens.put(at, 0f);
            }
            longer.lengths.put(longer.rows, lengths.get(row));
            longer.pending[longer.rows++] = pending[row];
            pending[row] = null;
        }
        rows = 0;
    }

    /** Score all rows; the bucket is empty then. */
    void run() throws OrtException {
        if (inputsOfRows.get(rows) == null) {
            inputsOfRows.set(rows, model.inputs(
                    model.tensor(tokens.slice(0, rows * length * Tokens.SIZE), rows, length),
                    model.tensor(lengths.slice(0, rows), rows)));
            FloatBuffer written = hazards.slice(0, rows * model.hazardsOfRow());
            outputsOfRows.set(rows, Map.of("log_hazards", model.hazardsTensor(written, rows)));
        }
        model.run(inputsOfRows.get(rows), outputsOfRows.get(rows));
        for (int row = 0; row < rows; row++) {
            pending[row].probability = model.probability(hazards, row);
            pending[row] = null;
        }
        rows = 0;
    }
}
