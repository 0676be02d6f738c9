"""gunicorn for pages, over WSGI: the contract as its command line. `python -m serve.web`

https://docs.gunicorn.org/en/stable/settings.html
"""

import sys

from config import contract

NAME = "gunicorn"

# What it takes to hang up, after the last answer.
CLOSE_SECONDS = 3
# Idle connections count, too, of which nginx keeps 64 for each of its processes.
IDLE = 1000


def command() -> list[str]:
    """Return the command that serves the pages."""
    options = {
        "worker-class": "serve.web_worker.Worker",
        "logger-class": "serve.web_worker.Logger",
        "bind": contract.BIND,
        "workers": contract.WEB_CONCURRENCY,
        "threads": contract.WEB_THREADS,
        "worker-connections": contract.MAX_CONNECTIONS + IDLE,
        "keep-alive": contract.KEEPALIVE_TIMEOUT,
        # From SIGTERM. Whose answer takes longer was given up by nginx before.
        "graceful-timeout": contract.REQUEST_TIMEOUT + CLOSE_SECONDS,
        # As long as nginx lets it be, more or less.
        "limit-request-line": 8190,
        # Left to realtime/wsgi.py, which knows TRUSTED_PROXIES.
        "forwarded-allow-ips": "",
        # https://docs.gunicorn.org/en/stable/faq.html#how-do-i-avoid-gunicorn-excessively-blocking-in-os-fchmod
        "worker-tmp-dir": "/dev/shm",
    }
    if contract.DEBUG:  # else the proxy logs each request
        options["access-logfile"] = "-"
    return [
        *(sys.executable, "-m", "gunicorn", "config.wsgi:application"),
        *(f"--{name}={value}" for name, value in options.items()),
        "--no-control-socket",
    ]


if __name__ == "__main__":
    from serve.start import start

    start("serve.web", NAME, command)
