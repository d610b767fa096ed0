"""The console: a page for the browser that shows what the API tells."""
