"""Logs: everything to stdout, one JSON object a line, or plain text for people.

Errors of pages are mailed to the ADMINS, too, where EMAIL_URL says how.
"""

import logging

from pythonjsonlogger.core import RESERVED_ATTRS

from config import contract
from serve import server


class Ours(logging.Filter):
    """Leaves out what Django finds suspicious in a request: anybody can send many of them."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not record.name.startswith("django.security")


class OnlyWarn(Ours):
    """Makes a warning of it; and a line without a traceback of every request that is refused."""

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
        "request_id": {"()": "realtime.request_id.AddRequestId"},
        "only_warn": {"()": "config.logs.OnlyWarn"},
    },
    "handlers": {
        "stdout": {
            "class": "logging.StreamHandler",
            "stream": "ext://sys.stdout",
            "formatter": contract.LOG_FORMAT,
            "level": contract.LOG_LEVEL,
            "filters": ["request_id", "only_warn"],
        },
    },
    "root": {"handlers": ["stdout"], "level": contract.LOG_LEVEL},
    # To name a logger is to take away the handlers of its library, so that all reaches the root.
    "loggers": server.LOGGERS,
}

# Once there are settings to send mail with.
DJANGO_LOGGING = {
    **LOGGING,
    "filters": {
        **LOGGING["filters"],
        "production": {"()": "django.utils.log.RequireDebugFalse"},
        "ours": {"()": "config.logs.Ours"},
    },
    "handlers": {
        **LOGGING["handlers"],
        "mail_admins": {
            "class": "django.utils.log.AdminEmailHandler",
            "level": "ERROR",
            "filters": ["production", "ours"],
        },
    },
    "loggers": {
        **LOGGING["loggers"],
        "django": {"handlers": ["mail_admins"], "level": contract.LOG_LEVEL},
        "axes": {"level": "WARNING"},  # below that it tells of each of its own steps
    },
}
