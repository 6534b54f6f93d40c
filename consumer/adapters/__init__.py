"""The only importers of client libraries: Kafka, Redis, ONNX Runtime, Prometheus, HTTP."""
