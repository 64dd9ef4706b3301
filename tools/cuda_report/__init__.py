"""What can be known of the CUDA kernels without a GPU, as tables of docs/cuda.md."""
