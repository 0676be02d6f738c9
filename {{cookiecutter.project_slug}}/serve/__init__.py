"""Start, limit and stop a server process: `python -m serve`. Settings: `serve/conf.py`."""
