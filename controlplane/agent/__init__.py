"""The process on each GPU node that tells its GPUs as a metrics page."""
