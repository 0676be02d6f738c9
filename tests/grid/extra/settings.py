"""The project's settings, with the grid's own application."""

from config.settings import *  # noqa: F403
from config.settings import INSTALLED_APPS

INSTALLED_APPS = ["extra", *INSTALLED_APPS]
ROOT_URLCONF = "extra.urls"
