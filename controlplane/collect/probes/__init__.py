"""Requests of our own."""
