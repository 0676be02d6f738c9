"""What every template may use."""

from django.conf import settings
from django.http import HttpRequest


def project(request: HttpRequest) -> dict[str, object]:
    """Return the project's name, and whether this is a development server."""
    return {"project_name": settings.PROJECT_NAME, "debug": settings.DEBUG}
