"""Context processors: variables for every template."""

from django.conf import settings
from django.http import HttpRequest


def project(request: HttpRequest) -> dict[str, object]:
    """Return the project's name, and whether DEBUG is on."""
    return {"project_name": settings.PROJECT_NAME, "debug": settings.DEBUG}
