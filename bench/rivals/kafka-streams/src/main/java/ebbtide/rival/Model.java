package ebbtide.rival;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.LongBuffer;
import java.nio.file.Path;
import java.util.Map;

/** The exported network and what its manifest says; used by any number of threads. */
final class Model {
    private static final int HORIZON_DAYS = 30;

    final OrtEnvironment environment;
    private final OrtSession session;
    private final OnnxTensor shop;
    private final int heads;
    private final double[] exposureDays; // how many of the first 30 days lie in each bin

    Model(Path folder) throws OrtException, IOException {
        JsonNode manifest = new ObjectMapper().readTree(folder.resolve("manifest.json").toFile());
        exposureDays = exposure(manifest.get("bin_edges_days"));
        heads = manifest.get("heads").size();
        environment = OrtEnvironment.getEnvironment();
        OrtSession.SessionOptions options = new OrtSession.SessionOptions();
        options.setIntraOpNumThreads(1);
        options.setInterOpNumThreads(1);
        options.addConfigEntry("session.intra_op.allow_spinning", "0");
        options.setOptimizationLevel(OrtSession.SessionOptions.OptLevel.ALL_OPT);
        session = environment.createSession(folder.resolve("prefill.onnx").toString(), options);
        JsonNode token = manifest.get("shop_token");
        float[][] values = new float[1][token.size()];
        for (int each = 0; each < token.size(); each++) {
            values[0][each] = (float) token.get(each).asDouble();
        }
        shop = OnnxTensor.createTensor(environment, values);
    }

    private static double[] exposure(JsonNode edges) {
        double[] days = new double[edges.size()];
        double left = 0.0;
        for (int bin = 0; bin < days.length; bin++) {
            boolean isLast = bin == days.length - 1; // its hazard holds for ever
            double right = isLast ? Double.POSITIVE_INFINITY : edges.get(bin).asDouble();
            days[bin] = Math.max(0.0, Math.min(right, HORIZON_DAYS) - left);
            left = right;
        }
        return days;
    }

    OnnxTensor tensor(FloatBuffer tokens, int rows, int length) throws OrtException {
        return OnnxTensor.createTensor(environment, tokens, new long[] {rows, length, Tokens.SIZE});
    }

    OnnxTensor tensor(LongBuffer lengths, int rows) throws OrtException {
        return OnnxTensor.createTensor(environment, lengths, new long[] {rows});
    }

    OnnxTensor hazardsTensor(FloatBuffer hazards, int rows) throws OrtException {
        return OnnxTensor.createTensor(environment, hazards, new long[] {rows, heads, exposureDays.length});
    }

    /** How many numbers `run` writes for a row. */
    int hazardsOfRow() {
        return heads * exposureDays.length;
    }

    Map<String, OnnxTensor> inputs(OnnxTensor tokens, OnnxTensor lengths) {
        return Map.of("tokens", tokens, "lengths", lengths, "shop", shop);
    }

    /** Both maps are of tensors over memory of the caller's own: nothing is copied. */
    void run(Map<String, OnnxTensor> inputs, Map<String, OnnxTensor> outputs) throws OrtException {
        session.run(inputs, outputs).close();
    }

    /** Churn probability by the hazards of one row: purchases are the first head. */
    double probability(FloatBuffer hazards, int row) {
        double expected = 0.0;
        for (int bin = 0; bin < exposureDays.length && exposureDays[bin] > 0.0; bin++) {
            expected += Math.exp(hazards.get(row * hazardsOfRow() + bin)) * exposureDays[bin];
        }
        return Math.exp(-expected);
    }
}
