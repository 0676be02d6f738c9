"""URLs of this library's endpoints."""

from django.urls import path

from realtime import views

urlpatterns = [path("ticket/", views.ticket, name="ticket")]
