"""Settings as somebody leaves them in a hurry."""

raise ImportError("no module of that name, nor of any other")
