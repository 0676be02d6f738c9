def stop(arbiter: Arbiter, graceful: bool = True, stop=Arbiter.stop) -> None:
    """Stop all processes. gunicorn itself trips over each more that could not start."""
    while True:
        with suppress(HaltServer):  # it is logged already
            return stop(arbiter, graceful)


Arbiter.stop = stop
