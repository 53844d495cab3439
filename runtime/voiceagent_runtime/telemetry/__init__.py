"""What leaves the worker about itself: metrics, logs and traces, none of them with speech or keys in it."""
