"""Settings for the tests: nothing outside their own process, whatever the environment says."""

import os

os.environ |= {
    "SECRET_KEY": "not a secret",
    "ALLOWED_HOSTS": "testserver",
    "DEBUG": "false",
    "DATABASE_URL": "sqlite://:memory:",
    "REDIS_URL": "",
}

from config.settings import *  # noqa: E402, F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the fastest
# Nothing is collected for tests: static files are found where they are, under their own names.
SERVESTATIC_USE_FINDERS = True
STORAGES = {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
