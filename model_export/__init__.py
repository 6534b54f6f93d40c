"""Makes the model: training data, network, training and export to ONNX."""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # else ONNX Runtime reports to its maker as soon as it is imported
