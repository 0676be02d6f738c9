original_stop = Arbiter.stop


def stop(arbiter: Arbiter, graceful: bool = True) -> None:
    """Stop all processes. gunicorn itself trips over each more that could not start."""
    while True:
        with suppress(HaltServer):  # it is logged already
            return original_stop(arbiter, graceful)


Arbiter.stop = stop
