"""Settings for tests: the defaults of .env.example, not the environment or .env."""

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
# A file: in-memory databases share a cache among threads, where a lock fails at once.
DATABASES["default"]["TEST"] = {"NAME": Path(gettempdir()) / f"test-{os.getpid()}.sqlite3"}  # noqa: F405
# No collectstatic for tests: static files are served from their source folders, unhashed.
SERVESTATIC_USE_FINDERS = True
STORAGES = {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
