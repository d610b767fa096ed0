"""What the API shows, as pydantic models made from domain values."""
