"""A real cluster, LiveKit server, simulated vendors and callers: the ground of demo, tests and benchmarks."""
