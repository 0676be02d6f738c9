"""Logs: all to stdout, one JSON object per line, or plain text in development.

Errors of pages are also mailed to the ADMINS, if EMAIL_URL configures mail.
"""

import logging

from pythonjsonlogger.core import RESERVED_ATTRS

from config import env
from serve import server


class NotSuspicious(logging.Filter):
    """Drops what Django finds suspicious in a request: any client can cause many of them."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not record.name.startswith("django.security")


class DemoteSuspicious(NotSuspicious):
    """Makes warnings of suspicious requests, and drops the traceback of each refused one."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not super().filter(record):
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        if record.name.startswith("django.") and record.levelno == logging.WARNING:
            record.exc_info = None
        return True


LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {
            "()": "pythonjsonlogger.json.JsonFormatter",
            "fmt": ["levelname", "name", "message"],
            "rename_fields": {"levelname": "level", "name": "logger"},
            "reserved_attrs": [*RESERVED_ATTRS, *server.LOG_EXTRAS],
            "timestamp": True,
        },
        "console": {"format": "{asctime} {levelname:<8} {name}: {message}", "style": "{"},
    },
    "filters": {
        "request_id": {"()": "serve.request_id.AddRequestId"},
        "demote_suspicious": {"()": "config.logs.DemoteSuspicious"},
        "not_suspicious": {"()": "config.logs.NotSuspicious"},
        "production": {"()": "django.utils.log.RequireDebugFalse"},
    },
    "handlers": {
        "stdout": {
            "class": "logging.StreamHandler",
            "stream": "ext://sys.stdout",
            "formatter": env.LOG_FORMAT,
            "level": env.LOG_LEVEL,
            "filters": ["request_id", "demote_suspicious"],
        },
        "mail_admins": {
            "class": "django.utils.log.AdminEmailHandler",
            "level": "ERROR",
            "filters": ["production", "not_suspicious"],
        },
    },
    "root": {"handlers": ["stdout"], "level": env.LOG_LEVEL},
    # Naming a logger removes the handlers that its library gave it: the root handles its records.
    "loggers": {
        **server.loggers(env.DEBUG),
        "django": {"handlers": ["mail_admins"], "level": env.LOG_LEVEL},
        "axes": {"level": "WARNING"},  # below that, it logs its own steps
    },
}
