"""Which view answers which URL. The sockets are in asgi.py."""

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path
from django.views import defaults

from config.views import whoami
from realtime.tickets import ticket
from rooms import routes as rooms

urlpatterns = [
    *rooms.pages,
    path("accounts/login/", LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("accounts/logout/", LogoutView.as_view(), name="logout"),
    path("accounts/ticket/", ticket, name="ticket"),
    path("admin/", admin.site.urls),
    path("whoami/", whoami),
]

# Django's error views without `requires_csrf_token`, which reads the form again: one that cannot be
# read would turn the 400 into a 500.
handler400 = defaults.bad_request.__wrapped__
handler403 = defaults.permission_denied.__wrapped__
handler404 = defaults.page_not_found.__wrapped__
handler500 = defaults.server_error.__wrapped__
