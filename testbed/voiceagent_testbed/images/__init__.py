"""The project's images, built from its Dockerfile by whatever container engine there is, or by one of our own."""
