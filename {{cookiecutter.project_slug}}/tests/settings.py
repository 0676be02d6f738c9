"""Settings for the tests: nothing outside of them, whatever the environment and .env say."""

import os
import re
from pathlib import Path
from tempfile import gettempdir

example = Path(__file__).parent.parent / ".env.example"
for name, default in re.findall(r"^#?([A-Z_]+)=(.*)$", example.read_text(), re.MULTILINE):
    os.environ[name.removesuffix("_FILE")] = default
os.environ |= {
    "SECRET_KEY": "not a secret",
    "ALLOWED_HOSTS": "testserver",
    "BIND": "127.0.0.1:0",
    "DATABASE_URL": "sqlite://:memory:",
    "REDIS_URL": "",
}

from config.settings import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the fastest
# A file: in memory, threads share a cache, and who meets a lock there fails at once.
DATABASES["default"]["TEST"] = {"NAME": Path(gettempdir()) / f"test-{os.getpid()}.sqlite3"}  # noqa: F405
# Nothing is collected for tests: static files are found where they are, under their own names.
SERVESTATIC_USE_FINDERS = True
STORAGES = {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
