"""One Triton."""
