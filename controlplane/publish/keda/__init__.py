"""Desired replicas for KEDA, so that a ScaledObject follows what is decided here."""
