"""What knows nothing of PDEs: files, memory, devices, threads, warnings."""
