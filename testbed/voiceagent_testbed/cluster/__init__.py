"""A cluster: a real node of our own in a network namespace, or kind's, behind one interface."""
