"""The HTTP API: one route file per resource, problem details for every error, bearer tokens."""
