"""The environment's conflicts as Django system checks."""

from django.core.checks import Error, register

from config import env


@register
def check_environment(app_configs, **kwargs) -> list[Error]:
    """Report every rule of config/env.py that the variables break together."""
    return [Error(sentence, id="env.E001") for sentence in env.conflicts()]
