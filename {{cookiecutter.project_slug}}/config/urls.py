"""Which view answers which URL. The sockets are in asgi.py."""

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

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
