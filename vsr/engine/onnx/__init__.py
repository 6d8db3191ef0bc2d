"""Backends that run the network as an ONNX file in another runtime."""
