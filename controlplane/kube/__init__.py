"""What is common to reading from Kubernetes and to acting on it."""
