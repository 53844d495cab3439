"""A fleet without machines: nodes, workers, LiveKit's dispatch and callers, played before a real control plane."""
