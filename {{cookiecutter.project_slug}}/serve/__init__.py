"""Start the ASGI server from the contract: `python -m serve`."""
