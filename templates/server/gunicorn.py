"""gunicorn with uvicorn's worker: the contract as its command line.

https://docs.gunicorn.org/en/stable/settings.html
"""

import sys

from config import contract

NAME = "gunicorn"
LOG_EXTRAS = ["color_message"]  # the message again, with colours
LOGGERS = {
    "gunicorn.error": {"propagate": True},
    # The proxy logs each request and socket. Without one, in development, they are good to see.
    "uvicorn.access": {"propagate": contract.DEBUG},
    "uvicorn.error": {"propagate": True, "level": "INFO" if contract.DEBUG else "WARNING"},
}


def command() -> list[str]:
    """Return the command that serves the application."""
    options = {
        "worker-class": "serve.worker.Worker",
        "logger-class": "serve.worker.Logger",
        "bind": contract.BIND,
        "workers": contract.WEB_CONCURRENCY,
        "keep-alive": contract.KEEPALIVE_TIMEOUT,
        # The worker drains itself, then waits for its requests. Later, it is killed.
        "graceful-timeout": contract.STOP_GRACE_SECONDS,
        # https://docs.gunicorn.org/en/stable/faq.html#how-do-i-avoid-gunicorn-excessively-blocking-in-os-fchmod
        "worker-tmp-dir": "/dev/shm",
    }
    return [
        *(sys.executable, "-m", "gunicorn", "config.asgi:application"),
        *(f"--{name}={value}" for name, value in options.items()),
        "--no-control-socket",
        *contract.SERVER_ARGS,
    ]
