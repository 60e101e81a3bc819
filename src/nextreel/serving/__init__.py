"""The HTTP door: parses, calls the system, maps the answer."""
