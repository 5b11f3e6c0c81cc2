"""The engine's kernels: index tensors in, values and flows out. Knows nothing of circuits; never imports pcviz."""
