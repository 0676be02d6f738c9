"""Logs: everything to stdout, one JSON object a line, or plain text for people.

Errors of pages are mailed to the ADMINS, too, where EMAIL_URL says how.
"""

import logging

from pythonjsonlogger.core import RESERVED_ATTRS

from config import contract
from serve import server


class NotSuspicious(logging.Filter):
    """Leaves out what Django finds suspicious in a request: anybody can send many of them."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not record.name.startswith("django.security")


class DemoteSuspicious(NotSuspicious):
    """Makes a warning of it, and leaves out the traceback of every request that is refused."""

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
        "demote_suspicious": {"()": "config.logs.DemoteSuspicious"},
    },
    "handlers": {
        "stdout": {
            "class": "logging.StreamHandler",
            "stream": "ext://sys.stdout",
            "formatter": contract.LOG_FORMAT,
            "level": contract.LOG_LEVEL,
            "filters": ["request_id", "demote_suspicious"],
        },
    },
    "root": {"handlers": ["stdout"], "level": contract.LOG_LEVEL},
    # Naming a logger removes the handlers that its library gave it: all reaches the root.
    "loggers": server.LOGGERS,
}

# Once there are settings to send mail with.
DJANGO_LOGGING = {
    **LOGGING,
    "filters": {
        **LOGGING["filters"],
        "production": {"()": "django.utils.log.RequireDebugFalse"},
        "not_suspicious": {"()": "config.logs.NotSuspicious"},
    },
    "handlers": {
        **LOGGING["handlers"],
        "mail_admins": {
            "class": "django.utils.log.AdminEmailHandler",
            "level": "ERROR",
            "filters": ["production", "not_suspicious"],
        },
    },
    "loggers": {
        **LOGGING["loggers"],
        "django": {"handlers": ["mail_admins"], "level": contract.LOG_LEVEL},
        "axes": {"level": "WARNING"},  # below that it tells of each of its own steps
    },
}
