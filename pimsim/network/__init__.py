"""Networks as integer layers: shapes, checkpoints, import, quantization, data sets."""
