"""What others read: our own metrics page."""
