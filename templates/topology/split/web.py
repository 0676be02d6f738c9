"""The settings as gunicorn's command line, for pages over WSGI: `python -m serve.web`

https://docs.gunicorn.org/en/stable/settings.html
"""

import sys

from serve.conf import ServeSettings

NAME = "gunicorn"
# serve/web_worker.py and serve/gunicorn_patches.py change private names of this version.
TESTED_VERSIONS = {"gunicorn": ("27.0.1", "27.1")}

# For closing the connections after the last response.
CLOSE_SECONDS = 3
# gunicorn counts idle connections too, of which each of nginx's workers keeps up to 64.
IDLE_CONNECTIONS = 1000


def command(settings: ServeSettings) -> list[str]:
    """Return the command that serves the pages."""
    options = {
        "worker-class": "serve.web_worker.PatchedThreadWorker",
        "logger-class": "serve.gunicorn_patches.PatchedLogger",
        "bind": settings.BIND,
        "workers": settings.PROCESSES,
        "threads": settings.THREADS,
        "worker-connections": settings.MAX_CONNECTIONS + IDLE_CONNECTIONS,
        "keep-alive": settings.KEEPALIVE_TIMEOUT,
        # From SIGTERM. nginx gives up on responses that take longer than REQUEST_TIMEOUT.
        "graceful-timeout": settings.REQUEST_TIMEOUT + CLOSE_SECONDS,
        # About nginx's own limit.
        "limit-request-line": 8190,
        # Left to serve/wsgi.py, which has the trusted proxies.
        "forwarded-allow-ips": "",
        # https://docs.gunicorn.org/en/stable/faq.html#how-do-i-avoid-gunicorn-excessively-blocking-in-os-fchmod
        "worker-tmp-dir": "/dev/shm",  # noqa: S108
    }
    if settings.DEBUG:  # in production nginx logs each request
        options["access-logfile"] = "-"
    return [
        *(sys.executable, "-m", "gunicorn", settings.WSGI_APPLICATION),
        *(f"--{name}={value}" for name, value in options.items()),
        "--no-control-socket",
    ]


if __name__ == "__main__":
    from serve.start import start

    start("serve.web", NAME, TESTED_VERSIONS, command)
