"""A real cluster, a real LiveKit server, simulated vendors and callers: the ground that demo, tests and benchmarks stand on."""
