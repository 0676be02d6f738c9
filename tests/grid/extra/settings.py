"""The project's settings, and an application beside the project's own: what the grid asks for."""

from config.settings import *  # noqa: F403
from config.settings import INSTALLED_APPS

INSTALLED_APPS = ["extra", *INSTALLED_APPS]
ROOT_URLCONF = "extra.urls"
