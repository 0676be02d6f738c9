"""Django's settings. Values that differ between machines are read from the environment by env.py.

https://docs.djangoproject.com/en/5.2/ref/settings/
"""

from datetime import timedelta

from csp.constants import NONE, SELF

from config import env, logs
from config.env import BASE_DIR

PROJECT_NAME = {{ cookiecutter.__project_name_literal }}

DEBUG = env.DEBUG
SECRET_KEY = env.SECRET_KEY
ALLOWED_HOSTS = env.ALLOWED_HOSTS
CSRF_TRUSTED_ORIGINS = env.CSRF_TRUSTED_ORIGINS
DATA_UPLOAD_MAX_MEMORY_SIZE = env.MAX_BODY_BYTES

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = env.HTTPS_ONLY
SECURE_HSTS_SECONDS = env.HSTS_SECONDS if env.HTTPS_ONLY else 0
# Only the domain's owner can decide whether HSTS covers subdomains, or is preloaded:
# https://docs.djangoproject.com/en/5.2/ref/middleware/#http-strict-transport-security
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
# No resources of other sites, no inline scripts or styles, and no frames in other sites.
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

# The path that the site is mounted under. Cookies are not sent to other paths of the host.
FORCE_SCRIPT_NAME = env.ROOT_PATH or None
SESSION_COOKIE_PATH = CSRF_COOKIE_PATH = f"{env.ROOT_PATH}/"

ADMINS = [("Admin", "{{ cookiecutter.author_email }}")]
SERVER_EMAIL = env.EMAIL_URL.get("SERVER_EMAIL", ADMINS[0][1])
DEFAULT_FROM_EMAIL = env.EMAIL_URL.get("DEFAULT_FROM_EMAIL", ADMINS[0][1])
EMAIL_BACKEND = env.EMAIL_URL["EMAIL_BACKEND"]
EMAIL_FILE_PATH = env.EMAIL_URL["EMAIL_FILE_PATH"]
EMAIL_HOST = env.EMAIL_URL["EMAIL_HOST"]
EMAIL_PORT = env.EMAIL_URL["EMAIL_PORT"]
EMAIL_HOST_USER = env.EMAIL_URL["EMAIL_HOST_USER"]
EMAIL_HOST_PASSWORD = env.EMAIL_URL["EMAIL_HOST_PASSWORD"]
EMAIL_USE_TLS = env.EMAIL_URL["EMAIL_USE_TLS"]
EMAIL_USE_SSL = env.EMAIL_URL["EMAIL_USE_SSL"]
EMAIL_TIMEOUT = env.EMAIL_URL["EMAIL_TIMEOUT"]

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

LOGGING = logs.LOGGING

ASGI_APPLICATION = "config.asgi.application"
{% if cookiecutter.topology == "split" %}
WSGI_APPLICATION = "config.wsgi.application"
{% endif %}
ROOT_URLCONF = "config.urls"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "home"

LOADERS = ["django.template.loaders.app_directories.Loader"]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "OPTIONS": {
            # In development, templates are read for each request: a change needs no restart.
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

if env.REDIS_URL:
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "config.channel_layer.ChannelLayer",
            "CONFIG": {"url": env.REDIS_URL, "prefix": env.REDIS_PREFIX},
        }
    }
else:
    CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}

STATIC_URL = f"{env.ROOT_PATH}/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "config.staticfiles.Storage"},
}
# Only hashed names are kept, so that all static files may be cached indefinitely.
SERVESTATIC_KEEP_ONLY_HASHED_FILES = True
# Without nginx, which serves the files otherwise, the application serves those in STATIC_ROOT.
SERVESTATIC_USE_MANIFEST = False

AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
# After 5 wrong passwords, a client is locked out of that account for 15 minutes; other clients are
# not. The admin lists the attempts, and can delete them.
# https://django-axes.readthedocs.io/en/latest/
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_CLIENT_IP_CALLABLE = "config.throttling.login_throttling_key"
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

# Sockets and streams (realtime/conf.py)
REALTIME = {
    "REDIS_URL": env.REDIS_URL,
    "REDIS_PREFIX": env.REDIS_PREFIX,
    "HISTORY_LENGTH": env.HISTORY_LENGTH,
    "HISTORY_SECONDS": env.HISTORY_SECONDS,
    "ALLOWED_ORIGINS": env.WS_ALLOWED_ORIGINS,
    "SOCKETS_PER_USER": env.WS_PER_USER,
    "TICKET_SECONDS": env.WS_TICKET_SECONDS,
    "MAX_MESSAGE_BYTES": env.WS_MAX_MESSAGE_BYTES,
    "MESSAGE_RATE": env.WS_MESSAGE_RATE,
    "SEND_TIMEOUT": env.WS_SEND_TIMEOUT,
    "MAX_AGE": env.WS_MAX_AGE,
    "PEER_TIMEOUT": env.WS_PING_INTERVAL + env.WS_PING_TIMEOUT,
}

# The server processes (serve/conf.py)
SERVE = {
    "BIND": env.BIND,
    "PROCESSES": env.WEB_CONCURRENCY,
{% if cookiecutter.topology == "split" %}
    "THREADS": env.WEB_THREADS,
    "MAX_CONNECTIONS": env.MAX_CONNECTIONS,
    "MAX_REQUESTS": env.MAX_REQUESTS,
    "MAX_BODY_BYTES": env.MAX_BODY_BYTES,
    "ROOT_PATH": env.ROOT_PATH,
{% endif %}
    "REQUEST_TIMEOUT": env.REQUEST_TIMEOUT,
    "KEEPALIVE_TIMEOUT": env.KEEPALIVE_TIMEOUT,
    "STOP_GRACE_SECONDS": env.STOP_GRACE_SECONDS,
    "WS_MAX_MESSAGE_BYTES": env.WS_MAX_MESSAGE_BYTES,
    "WS_PING_INTERVAL": env.WS_PING_INTERVAL,
    "WS_PING_TIMEOUT": env.WS_PING_TIMEOUT,
    "LOG_LEVEL": env.LOG_LEVEL,
    "SERVER_ARGS": env.SERVER_ARGS,
    "BASE_DIR": BASE_DIR,
    "CONTROL_DIR": env.CONTROL_DIR,
    "CONFLICTS": env.conflicts(),
{% if cookiecutter.topology == "split" %}
    "MAY_RECYCLE": "config.recycling.may_recycle",
{% endif %}
}
