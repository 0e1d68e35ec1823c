"""Proves int8 ONNX files of any tool: onnxruntime's answers against an evaluation in integers, tensor by tensor."""
