"""Speed of the operators beside that of their peers: `python -m benchmarks --help`."""
