"""Settings that fail with an ImportError."""

raise ImportError("no module of that name, nor of any other")
