"""Django's settings. What differs between machines comes from the environment, in contract.py.

https://docs.djangoproject.com/en/5.2/ref/settings/
"""

from datetime import timedelta

from csp.constants import NONE, SELF
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff

from config import contract, logs
from config.contract import BASE_DIR

PROJECT_NAME = {{ cookiecutter.__project_name_literal }}

DEBUG = contract.DEBUG
SECRET_KEY = contract.SECRET_KEY
ALLOWED_HOSTS = contract.ALLOWED_HOSTS
CSRF_TRUSTED_ORIGINS = contract.CSRF_TRUSTED_ORIGINS
DATA_UPLOAD_MAX_MEMORY_SIZE = contract.MAX_BODY_BYTES

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = contract.HTTPS_ONLY
SECURE_HSTS_SECONDS = contract.HSTS_SECONDS if contract.HTTPS_ONLY else 0
# Whether it holds for other names below this one, and for ever, only their owner can say:
# https://docs.djangoproject.com/en/5.2/ref/middleware/#http-strict-transport-security
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
# Nothing comes from elsewhere, nothing stands in a page itself, and no other site frames it.
# https://developer.mozilla.org/en-US/docs/Web/HTTP/Guides/CSP
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "object-src": [NONE],
    }
}

# Where the site is mounted. Cookies are not for what else the host serves.
FORCE_SCRIPT_NAME = contract.ROOT_PATH or None
SESSION_COOKIE_PATH = CSRF_COOKIE_PATH = f"{contract.ROOT_PATH}/"

SERVER_EMAIL = "{{ cookiecutter.author_email }}"
DEFAULT_FROM_EMAIL = SERVER_EMAIL
ADMINS = [("Admin", SERVER_EMAIL)]
globals().update(contract.EMAIL_URL)  # EMAIL_HOST and its like

INSTALLED_APPS = [
    "rooms",
    "realtime",
    "config",
    "axes",
    "channels",
    "csp",
    "servestatic",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "config.staticfiles.Middleware",
    "config.streaming.unbuffered_events",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]

LOGGING = logs.DJANGO_LOGGING

ASGI_APPLICATION = "config.asgi.application"
ROOT_URLCONF = "config.urls"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "home"

LOADERS = ["django.template.loaders.app_directories.Loader"]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "OPTIONS": {
            # In development a template is read each time, so that no server need watch it.
            "loaders": LOADERS if DEBUG else [("django.template.loaders.cached.Loader", LOADERS)],
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "config.context.project",
            ],
        },
    },
]

{% include "database/" ~ cookiecutter.database ~ "/settings.py" %}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# For consumers of your own that use groups; what is here uses realtime/streams.py.
if contract.REDIS_URL:
    CHANNEL_LAYERS = {
        "default": {
            # Not the core layer: it drops messages over its capacity, and closes all sockets when
            # Redis restarts. https://github.com/django/channels_redis/issues/181
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {
                "hosts": [
                    {
                        "address": contract.REDIS_URL,
                        # A pool goes without the retries that redis-py's own client has, and
                        # would fail once for each connection after Redis was restarted.
                        "retry": Retry(ExponentialWithJitterBackoff(cap=1, base=0.1), 3),
                    }
                ]
            },
        }
    }
else:
    CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}

STATIC_URL = f"{contract.ROOT_PATH}/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "config.staticfiles.Storage"},
}
# Every name that is kept carries a hash, so that any of them may be cached for ever.
SERVESTATIC_KEEP_ONLY_HASHED_FILES = True
# nginx has the files; here they are only looked for where a run without nginx collected them.
SERVESTATIC_USE_MANIFEST = False

AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
# After so many wrong passwords a client is locked out of that account; other clients are not. The
# admin lists the attempts, and can delete them. https://django-axes.readthedocs.io/en/latest/
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_CLIENT_IP_CALLABLE = "config.requests.client"
AXES_LOCKOUT_TEMPLATE = "registration/locked.html"
AXES_RESET_ON_SUCCESS = True
AXES_DISABLE_ACCESS_LOG = True
AXES_VERBOSE = False

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
