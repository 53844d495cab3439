"""Several providers behind one: who fails or stalls gives way to the next, in the middle of a call."""
