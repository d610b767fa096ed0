"""Our own metrics page: its families, and the samples of each part of the picture."""
