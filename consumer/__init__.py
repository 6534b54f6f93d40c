"""The Ebbtide service: shop events in, retention alerts out."""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # else ONNX Runtime reports to its maker as soon as it is imported
