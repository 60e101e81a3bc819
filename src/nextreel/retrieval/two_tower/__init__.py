"""Two towers: one turns a video, the other a person's history, into unit vectors of one space.

`fitting` trains them with PyTorch; `retriever` serves them with ONNX Runtime and FAISS alone.
"""
