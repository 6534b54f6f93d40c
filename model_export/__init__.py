"""Makes the model: training data, network, training and export to ONNX."""
