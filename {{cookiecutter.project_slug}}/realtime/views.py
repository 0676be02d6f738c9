"""The endpoint for tickets."""

import logging

from django.http import HttpRequest, JsonResponse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST
from redis.exceptions import RedisError

from realtime import conf, tickets

logger = logging.getLogger(__name__)


@never_cache
@require_POST
def ticket(request: HttpRequest) -> JsonResponse:
    """Return a ticket to an authenticated user. Errors are JSON as well: a program reads them."""
    if not request.user.is_authenticated:
        return JsonResponse({"error": _("Log in first.")}, status=401)
    try:
        issued = tickets.issue(request.user, request.session)
    except (OSError, RedisError) as error:
        logger.warning("issuing a ticket failed: %r", error)
        headers = {"Retry-After": str(tickets.RETRY_AFTER)}
        return JsonResponse({"error": _("Try again later.")}, status=503, headers=headers)
    return JsonResponse({"ticket": issued, "seconds": conf.settings().TICKET_SECONDS})
